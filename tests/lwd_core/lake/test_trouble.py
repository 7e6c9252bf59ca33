"""The machine's trouble: a full disk, a connection that drops in mid-commit: the old state stays."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from lwd_core.errors import StorageError, UserError
from lwd_core.lake.store import Lake
from lwd_core.storage import location as place_module
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.kills import REPOSITORY, no_row_twice, whole
from tests.lwd_core.lake.world import World

TABLES = ("steps", "segments", "episodes", "logs")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    write_log(world.landing, "first", frames=3)
    world.ingest()
    for i in range(1, 4):
        write_log(world.landing, f"later{i}", seed=i, frames=3)
    return world


class FullDisk:
    """Lets so many bytes through, then is full."""

    def __init__(self, room: int) -> None:
        self.room = room

    def open(self, path: Path, mode: str, **other: int) -> IO[bytes]:
        stream = open(path, mode, **other)  # noqa: SIM115 - the caller closes it
        plain = stream.write

        def write(data: bytes) -> int:
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return plain(data)

        class Stream:
            def __getattr__(self, name: str) -> object:
                return write if name == "write" else getattr(stream, name)

            def __enter__(self) -> "Stream":
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

        return Stream()  # type: ignore[return-value]


@pytest.mark.parametrize("room", [0, 700, 5_000, 12_000, 20_000, 30_000])
def test_a_full_disk_leaves_the_old_state(world: World, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    before = world.tables()
    with monkeypatch.context() as patch:
        patch.setattr(place_module, "open", FullDisk(room).open, raising=False)
        with pytest.raises(StorageError, match="No space left"):
            world.ingest()
    after = world.tables()
    assert after["episodes"] == before["episodes"]
    assert after["steps"] == before["steps"]
    assert not [row for row in after["logs"] if row["state"] == "quarantined"], "the logs are not to blame"
    assert not list(Path(world.settings.lake).rglob("*.tmp"))
    world.ingest()
    assert len(world.tables()["episodes"]) == 4
    whole(world)
    no_row_twice(world)


def test_every_write_meets_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file system of a few megabytes, in a namespace of its own."""
    script = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" -m tests.lwd_core.lake.full_disk "$1" "$3"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    disk, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    disk.mkdir()
    done = subprocess.run(
        [*command, str(disk), sys.executable, str(elsewhere)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert all("No space left on device" in error for error in refused)
    for part in (
        "/frames/",
        *(f"/tables/{t}/day" for t in TABLES),
        *(f"/tables/{t}: version" for t in TABLES),
    ):
        assert any(part in error for error in refused), f"nothing was refused at {part}"


@pytest.mark.parametrize("table", ["steps", "segments", "episodes", "logs"])
def test_a_commit_that_fails_leaves_the_old_state(
    world: World, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    before = world.tables()
    with monkeypatch.context() as patch:
        log = world.lake.log(table)

        def dropped(*_: object, **__: object) -> int:
            raise ConnectionResetError("connection reset by peer")

        patch.setattr(log, "commit", dropped)
        with pytest.raises(ConnectionResetError):
            world.ingest()
    assert world.tables()[table] == before[table]
    whole(World(Path(world.settings.home)))
    again = World(Path(world.settings.home))
    again.ingest()
    assert [len(again.tables()[name]) for name in ("episodes", "logs")] == [4, 4]
    no_row_twice(again)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be used there"):
        Lake.open(str(tmp_path / "file" / "lake"), create=True)
