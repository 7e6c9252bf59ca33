"""An episode of the lake: columns, tables, frames, and what is said of one that isn't there."""

import numpy as np
import polars as pl
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.episode import Episode
from lwd_core.lake.store import Lake
from tests.lwd_core.recorded import jpeg, recorded_lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return recorded_lake(tmp_path_factory.mktemp("episode") / "lake")


@pytest.fixture
def episode(lake: Lake) -> Episode:
    return lake.episode("e0001")


def test_columns_are_arrays_as_the_table_has_them(lake: Lake, episode: Episode) -> None:
    rows = lake.read("steps", where="episode_id = 'e0001' ORDER BY step").to_pylist()
    assert (len(episode), episode.steps.num_rows) == (50, 51)
    assert (episode.state.shape, episode.action.shape) == ((51, 3), (50, 2))
    np.testing.assert_array_equal(episode["state"], np.array([r["state"] for r in rows], np.float32))
    np.testing.assert_array_equal(episode["action"], np.array([r["action"] for r in rows[:-1]], np.float32))
    np.testing.assert_array_equal(
        episode["proposed"], np.array([r["proposed"] for r in rows[:-1]], np.float32)
    )
    assert np.flatnonzero(~episode["valid"]).tolist() == [5]
    assert episode.state.flags.writeable  # torch takes no other memory gladly


def test_where_nothing_was_proposed_it_is_not_a_number(lake: Lake) -> None:
    assert np.isnan(lake.episode("e0000")["proposed"]).all()


def test_frames_are_each_once_and_as_the_robot_sent_them(episode: Episode) -> None:
    frames = episode.frames("front")
    assert episode.cameras == ["front"]
    assert [f.step for f in frames] == list(range(1, 51, 2))
    assert frames[3].data == jpeg(1, 7)
    assert (frames[3].rgb.shape, int(frames[3].rgb.mean().round())) == ((48, 64, 3), 40 + 50 + 14)
    assert frames[3]._repr_mimebundle_()["image/jpeg"] == frames[3].data
    assert len(episode.frames()) == len(frames)


def test_a_query_is_one_call_from_any_frame(lake: Lake) -> None:
    rows = lake.sql("SELECT episode_id, steps FROM episodes WHERE steps > ? ORDER BY 1", [40])
    assert rows["steps"].to_pylist() == [50, 60]
    assert rows.to_pandas()["steps"].tolist() == [50, 60]
    assert pl.DataFrame(rows)["steps"].to_list() == [50, 60]


def test_episodes_are_asked_for_by_a_condition(lake: Lake) -> None:
    assert [e.id for e in lake.episodes("steps > ?", [45])] == ["e0001", "e0002"]
    assert repr(lake.episode("e0001")) == "Episode(e0001: reach, failure, 50 steps, r1)"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda lake: lake.episode("e"), "3 episodes start like this; give more of the id"),
        (lambda lake: lake.episode("e0003x"), r"no such episode; did you mean e000\d\?"),
        (lambda lake: lake.episode("zzz"), "no such episode; `lwd episode list` shows"),
        (lambda lake: lake.episodes("taks = 'a'"), 'column "taks" not found.*Candidate bindings: "task"'),
        (lambda lake: lake.sql("SELECT * FROM episods"), 'Did you mean "episodes"'),
        (lambda lake: lake.read("episods"), r"no such table; did you mean episodes\?"),
        (lambda lake: lake.read("episodes", columns=["taks"]), r"no column 'taks'; did you mean task\?"),
        (lambda lake: lake.labels("quality@1"), "no such layer; there are none"),
        (lambda lake: lake.episode("e0000").frames("frnt"), r"camera 'frnt'; did you mean front\?"),
        (lambda lake: lake.episode("e0000")["stat"], r"no such column; did you mean state\?"),
        (lambda lake: lake.episode("e0000")["state.x"], r"its embodiment names no dims; episode\['state'\]"),
        (lambda lake: lake.sql(""), "there is no statement in it; write a SELECT"),
    ],
)
def test_what_is_not_there_is_told_with_what_was_meant(lake: Lake, ask, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ask(lake)
