"""One bad log stops only itself: bombs, lies, and faults of the readers."""

import os
from pathlib import Path

import pytest

from lwd_core.ingest.commit import IngestResult, ingest
from lwd_core.ingest.reading import sweep
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from lwd_core.logs import children, faults
from lwd_core.logs.children import ChildLimits, Lost, apart
from lwd_core.logs.read import mended
from lwd_core.settings import Settings
from lwd_core.storage.location import Location
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.world import World
from tests.lwd_core.logs import bombs
from tests.lwd_core.logs.robot_logs import Log, write_episode


class Home:
    def __init__(self, root: Path) -> None:
        self.settings = Settings(home=str(root / "home"))
        self.lake = Lake.open(self.settings.lake, create=True)
        self.logs = root / "logs"
        self.logs.mkdir()

    def ingest(self, **options: int) -> IngestResult:
        return ingest(
            self.lake, self.settings, [str(self.logs)], embodiments=bombs.EMBODIMENTS, now_ns=0, **options
        )

    def reasons(self) -> dict[str, str]:
        rows = self.lake.read("logs").to_pylist()
        return {Path(row["uri"]).name: row["reason"] for row in rows if row["state"] == "quarantined"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def robot_log(path: Path, seed: int = 0, camera_every: int = 0) -> Path:
    log = Log({"robot_id": "r1", "embodiment": "arm"})
    write_episode(log, 12, seed=seed, camera_every=camera_every)
    path.write_bytes(log.finish())
    return path


def made(home: Home, name: str, rank: str) -> None:
    """A bomb among the logs, at its place in the order of names."""
    folder = home.logs / rank
    folder.mkdir()
    {**bombs.BOMBS, **bombs.LIES}[name](folder)


def test_what_takes_too_much_is_quarantined_once_and_the_others_go_in(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChildLimits, "of", lambda size: ChildLimits(600_000_000, 10.0))
    robot_log(home.logs / "a.mcap", 1)
    made(home, "mcap_empty_messages", "b")
    made(home, "npz_of_zeros", "c")
    robot_log(home.logs / "d.mcap", 2, camera_every=3)
    result = home.ingest()
    assert (result.accepted.files, result.quarantined.files, result.episodes) == (2, 2, 2)
    assert home.reasons() == dict.fromkeys(("a.mcap", "a.npz"), "reading it took more than 0.6 GB")
    again = home.ingest()
    assert (again.known.files, again.quarantined.files) == (4, 0)


def test_an_endless_view_is_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChildLimits, "of", lambda size: ChildLimits(10**9, 4.0))
    made(home, "sqlite_silent_view", "b")
    robot_log(home.logs / "c.mcap")
    result = home.ingest()
    assert (result.accepted.files, result.quarantined.files) == (1, 1)
    assert home.reasons() == {"a.db3": "reading it took more than 4 s"}


def die_in_a_shard(place: Location, log_id: str) -> None:
    shards = FrameShards(place, log_id, "lab")
    shards.put("wrist", 0, b"x" * 100)
    os.abort()


def test_the_shard_of_a_dead_child_is_swept(home: Home) -> None:
    frames = Path(home.lake.path("frames", "1970-01-01", "lab"))
    with pytest.raises(Lost) as lost:
        apart(0, die_in_a_shard, home.lake.place, "a" * 64)
    other = frames / f".{'a' * 32}-0000.tar.1-12345678.tmp"  # another process writes the same log's
    other.touch()
    assert len(list(frames.iterdir())) == 2
    sweep(home.lake.place, "a" * 64, lost.value.pid)
    assert list(frames.iterdir()) == [other]


@pytest.mark.parametrize(
    "name",
    [
        "mcap_chunk_of_no_length", "mcap_chunk_before_itself", "mcap_lz4_claims_more", "jpeg_of_65535",
        "bag_data_of_2_32", "npz_shape_of_10_12", "hdf5_elsewhere", "lerobot_of_10_12_rows", "json_nested",
        "protobuf_nested_types", "ros_type_of_itself",
    ],
)  # fmt: skip
def test_lies_cost_nothing(home: Home, name: str) -> None:
    made(home, name, "a")
    result = home.ingest()
    assert result.accepted.files + result.salvaged.files + result.quarantined.files == 1
    assert result.faults == []


def test_workers_give_the_same(tmp_path: Path) -> None:
    tables = []
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        home = Home(tmp_path / str(workers))
        for i in range(5):
            robot_log(home.logs / f"{i}.mcap", i, camera_every=4)
        robot_log(home.logs / "same.mcap", 0, camera_every=4)
        result = home.ingest(workers=workers)
        assert (result.accepted.files, result.duplicate.files) == (5, 1)
        tables.append(home.lake.sql("SELECT * FROM steps ORDER BY ALL").to_pylist())
    assert tables[0] == tables[1]


def test_logs_that_readers_failed_on_are_read_again_by_mended_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "home")
    path = write_log(world.landing, "log")
    path.write_text('{"crash": true}')
    assert world.ingest().quarantined.files == 1
    assert world.ingest().known.files == 1
    reason = world.tables()["logs"][0]["reason"]
    assert not mended(reason)
    monkeypatch.setattr(faults, "version", lambda: "0.2.0+mended")
    assert mended(reason)
    result = world.ingest()
    assert (result.known.files, result.quarantined.files) == (0, 1)
    (row,) = world.tables()["logs"]
    assert row["reason"].startswith(
        "the reader failed: a fault of lwd 0.2.0+mended, please report (KeyError in "
    )


def test_a_reader_that_can_not_start_is_no_fault_of_a_log(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_BOOT", "raise SystemExit('no room')  # {path} {fds}")
    monkeypatch.setenv("LWD_FRESH", "1")  # children of another environment are not taken
    robot_log(home.logs / "a.mcap")
    with pytest.raises(RuntimeError, match="can't be started: no room"):
        home.ingest()
    assert home.lake.read("logs").num_rows == 0
