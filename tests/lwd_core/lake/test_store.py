"""The lake's tables: what is written is read, commits are whole, versions stay."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.conform import conform
from lwd_core.lake.store import Lake
from storage_schemas.tables import TABLES
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.rows import episode_row, fake_episodes, segment_rows, step_rows
from tests.lwd_core.lake.world import World


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), create=True)


def test_what_is_written_is_read(lake: Lake) -> None:
    episodes, steps, segments = fake_episodes(3, length=20)
    lake.append("steps", steps)
    lake.append("segments", segments)
    assert lake.read("steps").num_rows == 0, "no episode, nothing to see"
    lake.append("episodes", episodes)
    read = lake.read("steps")
    assert read.schema.equals(TABLES["steps"].schema, check_metadata=True)
    assert read.sort_by([("episode_id", "ascending"), ("step", "ascending")]).equals(
        conform(TABLES["steps"], steps).sort_by([("episode_id", "ascending"), ("step", "ascending")])
    )
    assert lake.sql("SELECT count(*) n FROM segments").to_pylist() == [{"n": segments.num_rows}]


def test_an_empty_lake_answers_every_table(lake: Lake) -> None:
    for name, table in TABLES.items():
        assert lake.read(name).schema.equals(table.schema)


def test_replace_is_one_commit_and_repeatable(lake: Lake) -> None:
    first = pa.concat_tables([step_rows("a", "log-a", 5), step_rows("b", "log-b", 5)])
    lake.append("episodes", pa.concat_tables([episode_row("a", "log-a", 5), episode_row("b", "log-b", 7)]))
    before = lake.append("steps", first)
    for _ in range(2):
        after = lake.replace("steps", step_rows("b", "log-b", 7), {"log_id": ["log-b"]})
    assert after == before + 2
    counts = lake.sql("SELECT episode_id, count(*) n FROM steps GROUP BY 1 ORDER BY 1").to_pylist()
    assert counts == [{"episode_id": "a", "n": 5}, {"episode_id": "b", "n": 7}]
    old = lake.sql("SELECT count(*) n FROM steps", versions={"steps": before}).to_pylist()
    assert old == [{"n": 10}]


def test_steps_of_another_partition_stay_hidden(lake: Lake) -> None:
    lake.append(
        "steps", pa.concat_tables([step_rows("a", "log-a", 5), step_rows("a", "log-a", 5, day="2026-01-09")])
    )
    lake.append("episodes", episode_row("a", "log-a", 5))
    assert lake.read("steps").num_rows == 5


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: t.drop_columns(["task"]), "'task' is missing"),
        (lambda t: t.append_column("mood", pa.array(["good"])), "'mood' is not in its schema"),
        (
            lambda t: t.set_column(t.column_names.index("steps"), "steps", pa.array(["many"])),
            "'steps' takes int32",
        ),
        (
            lambda t: t.set_column(t.column_names.index("task"), "task", pa.array([None], pa.string())),
            "has a null",
        ),
        (lambda t: t.set_column(t.column_names.index("site"), "site", pa.array(["../x"])), "no folder name"),
    ],
)
def test_misfit_rows_are_refused_by_name(lake: Lake, change, word: str) -> None:
    with pytest.raises(UserError, match=word):
        lake.append("episodes", change(episode_row("a", "log-a", 5)))


def test_no_lake_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no lake there"):
        Lake.open(str(tmp_path / "nothing"))


def test_an_unknown_table_is_named(lake: Lake) -> None:
    with pytest.raises(UserError, match="no such table"):
        lake.read("dreams")


def test_segments_read_by_condition(lake: Lake) -> None:
    lake.append("segments", segment_rows("a", "log-a", 5))
    lake.append("episodes", episode_row("a", "log-a", 5))
    assert lake.read("segments", columns=["kind"], where="episode_id = ?", params=["a"]).to_pylist() == [
        {"kind": "autonomous"}
    ]


@pytest.mark.parametrize("table", ["episodes", "steps", "logs"])
@pytest.mark.parametrize("emptied", [False, True])
def test_a_table_whose_log_is_gone_is_not_started_anew(tmp_path: Path, table: str, emptied: bool) -> None:
    """Not by an ingest, and no question is answered as if it were empty."""
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1)
    world.ingest()
    write_log(world.landing, "two", seed=2)
    log = Path(world.lake.path("tables", table, "_delta_log"))
    shutil.move(log, tmp_path / "kept")
    if emptied:
        log.mkdir()
    with pytest.raises(UserError, match="_delta_log is gone, 1 data files"):
        Lake.open(world.settings.lake).read(table)
    with pytest.raises(UserError, match="_delta_log is gone, 1 data files"):
        World(tmp_path / "home").ingest()
    if emptied:
        log.rmdir()
    shutil.move(tmp_path / "kept", log)
    world = World(tmp_path / "home")
    world.ingest()
    assert len(world.tables()["episodes"]) == 2


@pytest.mark.parametrize("harm", ["cut", "gone", "entry gone"])
def test_a_damaged_lake_is_a_line(tmp_path: Path, harm: str) -> None:
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1)
    world.ingest()
    file = Path(world.lake.files("episodes")[0])
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-50])
    elif harm == "gone":
        file.unlink()
    else:
        Path(world.lake.path("tables", "episodes", "_delta_log", f"{0:020d}.json")).unlink()
    write_log(world.landing, "two", seed=2)
    for work in (
        lambda: Lake.open(world.settings.lake).read("episodes"),
        lambda: Lake.open(world.settings.lake).replace("episodes", fake_episodes(1)[0], {}),
        lambda: World(tmp_path / "home").plan("0" * 32),
    ):
        if harm != "entry gone" and "replace" in work.__code__.co_names:
            continue  # what it adds needs nothing of what is there
        with pytest.raises(UserError, match="can't be read .*restore") as caught:
            work()
        assert "\n" not in str(caught.value)
