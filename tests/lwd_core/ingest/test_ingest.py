"""Ingest: every log accounted for, each exactly once, whole."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
import webdataset

from lwd_core.errors import UserError
from lwd_core.lake.frames import read_frame
from lwd_core.logs.faults import version
from tests.lwd_core.lake.fake_logs import picture, write_log
from tests.lwd_core.lake.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def test_logs_become_episodes(world: World) -> None:
    for i in range(3):
        write_log(world.landing, f"log{i}", seed=i, episodes=2, site=f"site{i % 2}")
    result = world.ingest()
    assert (result.accepted.files, result.episodes, result.steps) == (3, 6, 72)
    rows = world.lake.sql(
        "SELECT e.site, e.day, e.robot_id, e.steps, count(*) n FROM episodes e JOIN steps USING (episode_id) "
        "GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    assert rows == [
        {"site": "site0", "day": "2026-01-01", "robot_id": "r1", "steps": 12, "n": 48},
        {"site": "site1", "day": "2026-01-01", "robot_id": "r1", "steps": 12, "n": 24},
    ]


def test_again_changes_nothing(world: World) -> None:
    path = write_log(world.landing, "log", episodes=2)
    Path(f"{path}.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    write_log(world.landing, "other", seed=1)
    world.ingest()
    before, versions = world.tables(), world.lake.versions()
    again = world.ingest()
    assert again.known.files == 2
    assert world.tables() == before
    assert world.lake.versions() == versions


def test_half_an_ingest_is_mended(world: World) -> None:
    """Steps without episodes, as a killed run leaves them, are replaced."""
    write_log(world.landing, "log", episodes=2, frames=3)
    world.ingest()
    whole = world.tables()
    for table in ("logs", "episodes"):
        world.lake.replace(table, world.lake.read(table).slice(0, 0), {"site": ["lab"]})
    assert world.tables()["steps"] == []
    world.ingest()
    assert world.tables() == whole


def test_same_bytes_twice_are_one_log(world: World) -> None:
    write_log(world.landing, "a")
    write_log(world.landing, "b")
    first = world.ingest()
    write_log(world.landing, "c", robot="r2", day="2026-01-05")
    second = world.ingest()
    assert (first.accepted.files, first.duplicate.files) == (1, 1)
    assert (second.duplicate.files, second.known.files) == (1, 2)
    assert len(world.tables()["episodes"]) == 1


def test_what_cannot_be_read_is_quarantined_with_a_reason(world: World) -> None:
    good = write_log(world.landing, "good")
    (good.parent / "foreign.json").write_bytes(b"\x00 no json")
    (good.parent / "empty.json").write_bytes(b"")
    (good.parent / "crash.json").write_text('{"crash": true}')
    hurt = write_log(world.landing, "hurt", seed=5)
    Path(f"{hurt}.sha256").write_text("0" * 64)
    result = world.ingest()
    assert (result.accepted.files, result.quarantined.files) == (1, 4)
    reasons = {row["uri"].rsplit("/")[-1]: row["reason"] for row in world.tables()["logs"]}
    assert reasons["foreign.json"] == "no log of the tests"
    assert reasons["crash.json"].startswith(
        f"the reader failed: a fault of lwd {version()}, please report (KeyError"
    )
    assert [uri.rsplit("/")[-1] for uri, _ in result.faults] == ["crash.json"]
    assert "the robot stated 000000000000" in reasons["hurt.json"]
    notes = [json.loads(p.read_text()) for p in Path(world.lake.path("quarantine")).iterdir()]
    assert sorted(note["reason"] for note in notes) == sorted(r for r in reasons.values() if r)
    (trace,) = [note["trace"] for note in notes if "trace" in note]
    assert trace[0].startswith("Traceback")
    assert "KeyError" in trace[-1]


def test_received_is_the_sum_of_the_states(world: World) -> None:
    for i in range(4):
        write_log(world.landing, f"log{i}", seed=i // 2)
    (world.landing / "lab" / "2026-01-01" / "r1" / "bad.json").write_bytes(b"??")
    result = world.ingest()
    received = sum(p.stat().st_size for p in world.landing.rglob("*.json"))
    states = [result.accepted, result.duplicate, result.salvaged, result.quarantined]
    assert sum(t.bytes for t in states) == received
    assert sum(t.files for t in states) == 5
    assert world.lake.sql("SELECT sum(bytes)::BIGINT b FROM logs").to_pylist() == [{"b": received}]


def test_salvaged_logs_say_why(world: World) -> None:
    path = write_log(world.landing, "log")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"salvaged": "cut after 7988 messages"}))
    assert world.ingest().salvaged.files == 1
    assert world.tables()["logs"][0]["reason"] == "cut after 7988 messages"


def test_damage_that_leaves_no_episode_is_no_salvage(world: World) -> None:
    path = write_log(world.landing, "a", episodes=1)
    said = {"salvaged": "part a.db3: the database is damaged", "episodes": 0}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    result = world.ingest()
    assert (result.salvaged.files, result.quarantined.files) == (0, 1)
    ((_, reason),) = result.reasons
    assert reason == "part a.db3: the database is damaged; no episode could be salvaged"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # webdataset leaves a file open
def test_frames_are_found_by_offset_and_by_webdataset(world: World) -> None:
    write_log(world.landing, "log", episodes=2, frames=12)
    world.ingest()
    rows = world.lake.read("steps", columns=["step", "frames"]).to_pylist()
    frames = [(row["step"], row["frames"][0]) for row in rows]
    assert {read_frame(world.lake.place, f) for _, f in frames} == {
        picture(seed, step) for seed in (0, 1) for step in range(12)
    }
    shards = {f["shard"] for _, f in frames}
    assert len(shards) == 1
    shard = Path(world.lake.path(shards.pop()))
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False, empty_check=False))
    assert [s["wrist.jpg"] for s in samples] == [picture(seed, step) for seed in (0, 1) for step in range(12)]
    with tarfile.open(shard) as tar:
        assert all(m.mtime == 0 for m in tar)


def test_a_path_that_is_not_there(world: World) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        world.ingest("/nowhere/at/all")


def test_logs_outside_the_landing_zone(world: World, tmp_path: Path) -> None:
    path = write_log(tmp_path / "elsewhere", "log")
    world.ingest(path)
    assert [(r["site"], r["day"], r["robot_id"]) for r in world.tables()["episodes"]] == [
        ("local", "2026-01-01", "r9")
    ]


def test_late_uploads_land_on_their_day(world: World) -> None:
    write_log(world.landing, "new", day="2026-01-09")
    world.ingest()
    write_log(world.landing, "late", seed=1, day="2026-01-02")
    world.ingest()
    days = world.lake.sql("SELECT day, count(*) n FROM steps GROUP BY 1 ORDER BY 1").to_pylist()
    assert days == [{"day": "2026-01-02", "n": 12}, {"day": "2026-01-09", "n": 12}]
