"""What counts as one log, where, and what is said of what can't be read."""

import os
import socket
from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.ingest.landing import LandedLog, Origin, receive
from lwd_core.ingest.pending import waiting
from lwd_core.ingest.reconcile import unaccounted
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def received(world: World, *paths: Path) -> dict[str, LandedLog]:
    landing = world.settings.landing
    return {log.place: log for log in receive([str(p) for p in paths or (landing,)], landing)}


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("above", ["", "lab/", "lab/2026-01-01/", "lab/2026-01-01/r1/"])
@pytest.mark.parametrize("mark", ["meta/info.json", "metadata.yaml"])
def test_no_mark_above_a_robots_folder_takes_its_logs_in(world: World, above: str, mark: str) -> None:
    for robot in ("r1", "r2"):
        write_log(world.landing, "a", robot=robot, seed=ord(robot[1]))
    put(world.landing / above / mark, b"rosbag2_bagfile_information:\n  relative_file_paths: [a.json]\n")
    result = world.ingest()
    assert result.accepted.files == 2
    rows = world.lake.sql("SELECT robot_id FROM episodes ORDER BY 1").to_pylist()
    assert [row["robot_id"] for row in rows] == ["r1", "r2"]
    assert unaccounted(world.lake, world.settings.landing) == []


def test_a_folder_is_a_log_from_below_its_robot(world: World) -> None:
    folder = world.landing / "lab/2026-01-01/r1/set"
    for name in ("meta/info.json", "data/chunk-000/file-000.parquet", ".cache/x", "notes.bin"):
        put(folder / name)
    found = received(world)
    assert {(name, log.bytes) for name, log in found.items()} == {
        ("lab/2026-01-01/r1/set", 2),
        ("lab/2026-01-01/r1/set/notes.bin", 1),
    }
    assert found["lab/2026-01-01/r1/set"].robot == "r1"
    # the landing zone may lie in a folder that looks like one
    put(world.landing.parent / "meta/info.json")
    assert received(world, world.landing.parent).keys() >= found.keys()


def test_what_is_no_file_is_named_and_stops_nothing(world: World, tmp_path: Path) -> None:
    good = write_log(world.landing, "good")
    folder = good.parent
    os.mkfifo(folder / "pipe.mcap")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(folder)  # names of sockets are short
        server.bind("sock")
        os.chdir(here)
    put(Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.json")), good.read_bytes())
    put(tmp_path / "far.json")
    (folder / "out.json").symlink_to(tmp_path / "far.json")
    (folder / "gone.json").symlink_to(folder / "nothing")
    (folder / "latest.json").symlink_to(good)
    write_log(world.landing, "sided", seed=3)
    (folder / "sided.json.sha256").mkdir()
    write_log(world.landing, "zip::x", seed=4)
    result = world.ingest()
    assert (result.accepted.files, result.quarantined.files) == (2, 6)
    reasons = {uri.rsplit("/")[-1]: why for uri, why in result.reasons}
    assert "named pipe" in reasons["pipe.mcap"]
    assert "socket" in reasons["sock"]
    assert "not UTF-8" in reasons["caf\\xe9.json"]
    assert "outside of what was named" in reasons["out.json"]
    assert "link to nothing" in reasons["gone.json"]
    assert "sided.json.sha256 beside it is no file" in reasons["sided.json"]
    again = world.ingest()
    assert (again.known.files, again.quarantined.files) == (8, 0)
    assert unaccounted(world.lake, world.settings.landing) == []
    assert waiting(world.lake, world.settings) == {}


def test_a_pipe_that_becomes_a_file_is_read(world: World) -> None:
    path = world.landing / "lab/2026-01-01/r1/log.json"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    world.ingest()
    path.unlink()
    write_log(world.landing, "log")
    result = world.ingest()
    assert (result.accepted.files, result.superseded.files) == (1, 1)


def test_a_log_that_goes_away_meanwhile_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write_log(world.landing, name, seed=i) for i, name in enumerate("ab"))
    claimed = LandedLog.claimed

    def gone(log: LandedLog) -> str | None:
        first.unlink(missing_ok=True)
        return claimed(log)

    monkeypatch.setattr(LandedLog, "claimed", gone)
    result = world.ingest()
    assert result.accepted.files == 1
    ((uri, why),) = result.reasons
    assert uri.endswith("a.json")
    assert "renamed, removed or written to" in why
    assert [row["uri"] for row in world.tables()["logs"]] == ["lab/2026-01-01/r1/b.json"]
    assert second.exists()


def test_a_cache_of_links_is_read_and_others_are_not(tmp_path: Path) -> None:
    repository = tmp_path / "hub/datasets--me--set"
    put(repository / "refs/main", b"abc")
    for i, name in enumerate(("meta/info.json", "data/chunk-000/file-000.parquet")):
        put(repository / f"blobs/{i}", b"12")
        link = repository / "snapshots/abc" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(repository / f"blobs/{i}")
    for named in (repository, repository / "snapshots/abc", tmp_path / "hub"):
        (log,) = receive([str(named)], str(tmp_path / "landing"))
        assert (log.uri, log.bytes, log.problem) == (str(repository / "snapshots/abc"), 4, None)
        assert log.source.files == ("data/chunk-000/file-000.parquet", "meta/info.json")
    outside = tmp_path / "set/meta"
    outside.mkdir(parents=True)
    (outside / "info.json").symlink_to(repository / "blobs/0")
    (log,) = receive([str(tmp_path / "set")], str(tmp_path / "landing"))
    assert log.problem
    assert "put the file itself there" in log.problem


def test_who_names_a_log_says_where_it_is_from(world: World, tmp_path: Path) -> None:
    path = write_log(tmp_path / "elsewhere", "log")
    write_log(world.landing, "here", seed=1)
    world.ingest(path, world.settings.landing, origin=Origin("lab-2", "2026-05-04", "Arm #1"))
    rows = world.lake.sql("SELECT site, day, robot_id FROM episodes ORDER BY 1").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("lab", "2026-01-01", "r1"),
        ("lab-2", "2026-05-04", "Arm #1"),
    ]


@pytest.mark.parametrize("wrong", [{"site": "a/b"}, {"site": "Zürich"}, {"site": ".."}, {"day": "2026-02-30"},
                                   {"day": "today"}, {"robot": " "}])  # fmt: skip
def test_an_origin_that_names_nothing(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Origin(**wrong)


def test_a_path_that_says_no_day_or_site_is_said(world: World) -> None:
    write_log(world.landing, "log", site="Zürich Lab", day="2026-13-01")
    world.ingest()
    (row,) = world.tables()["logs"]
    assert row["state"] == "accepted"
    assert "site 'Zürich Lab' and day '2026-13-01' of its path can't be taken" in row["reason"]


def test_files_that_ingest_passes_over_are_found_by_a_walk_of_its_own(world: World) -> None:
    log = write_log(world.landing, "log")
    world.ingest()
    log.write_bytes(log.read_bytes() + b" ")
    put(world.landing / "lab/2026-01-01/r1/new.bin")
    found = unaccounted(world.lake, world.settings.landing)
    assert [(f.uri, f.bytes - (f.known or 0)) for f in found] == [
        ("lab/2026-01-01/r1/log.json", 1),
        ("lab/2026-01-01/r1/new.bin", 1),
    ]
