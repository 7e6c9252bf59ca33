import hashlib
from pathlib import Path

import fsspec
import pytest

from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.readers import test_lerobot
from tests.lwd_core.logs.robot_logs import ARM, Sink, episode_log


def test_a_file_is_known_by_the_hash_of_its_bytes(tmp_path: Path):
    (tmp_path / "a.mcap").write_bytes(b"abc" * 10**6)
    source = LogSource(str(tmp_path / "a.mcap"))
    assert source.sha256() == hashlib.sha256(b"abc" * 10**6).hexdigest()
    assert (source.name, source.size, source.is_folder, source.files) == ("a.mcap", 3 * 10**6, False, ())


def test_a_folder_is_known_by_its_paths_and_bytes(tmp_path: Path):
    for root in ("one", "two"):
        (tmp_path / root / "data").mkdir(parents=True)
        (tmp_path / root / "data/x").write_bytes(b"1")
        (tmp_path / root / "y").write_bytes(b"22")
    one, two = LogSource(str(tmp_path / "one")), LogSource(f"file://{tmp_path}/two/")
    assert one.files == two.files == ("data/x", "y")
    assert one.size == 3
    assert one.sha256() == two.sha256()
    (tmp_path / "two/y").rename(tmp_path / "two/z")
    assert LogSource(str(tmp_path / "two")).sha256() != one.sha256()
    with pytest.raises(FileNotFoundError):
        one.open("../two/z")


def test_a_remote_log_is_read_in_place_or_from_a_passing_copy():
    memory = fsspec.filesystem("memory")
    memory.pipe("/logs/set/a/b.bin", b"12")
    memory.pipe("/logs/set/c.bin", b"3")
    source = LogSource("memory://logs/set")
    assert source.local is None
    assert source.files == ("a/b.bin", "c.bin")
    with source.open("a/b.bin") as f:
        assert f.read() == b"12"
    with source.on_disk() as root:
        assert (root / "a/b.bin").read_bytes() == b"12"
    assert not root.exists()


def test_logs_of_every_kind_are_read_from_a_remote_store(tmp_path: Path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/remote/log.mcap", episode_log(30))
    content = read_log(LogSource("memory://remote/log.mcap"), {"arm": ARM}, Sink())
    assert (content.salvaged, content.episodes[0].actions) == (None, 30)
    memory.put(str(test_lerobot.write(tmp_path / "set", "v3.0")), "/remote/set", recursive=True)
    arm = test_lerobot.embodiment()
    content = read_log(LogSource("memory://remote/set"), {"so101": arm}, Sink())
    assert [e.actions for e in content.episodes] == list(test_lerobot.LENGTHS)
