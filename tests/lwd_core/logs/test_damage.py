"""Damaged files: no crash, nothing but `UnreadableLog`, no wrong row where a checksum can tell."""

import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from rosbags.rosbag2 import StoragePlugin

from lwd_core.logs.children import apart
from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs import test_arrays
from tests.lwd_core.logs.readers import test_lerobot, test_rosbags
from tests.lwd_core.logs.robot_logs import ARM, PERIOD, START, Log, Sink, vectors, write_episode

STEPS = 60
EMBODIMENTS = {
    e.name: e
    for e in (ARM, test_rosbags.WHEELED, test_arrays.FLAT, test_arrays.ROBOMIMIC, test_lerobot.embodiment())
}


def robot_log(**options: Any) -> bytes:
    log = Log({"robot_id": "r1", "embodiment": "arm"}, **options)
    for k in range(2):
        write_episode(log, STEPS, seed=k, start=START + k * 10**10, camera_every=7, human=lambda i: i > 40)
    return log.finish()


def written() -> dict[int, tuple[list[float], list[float]]]:
    """State and action by the time of the tick."""
    truth = {}
    for k in range(2):
        state, action, _ = vectors(STEPS, k)
        for i in range(STEPS + 1):
            executed = action[i].tolist() if i < STEPS else []
            truth[START + k * 10**10 + i * PERIOD] = (state[i].tolist(), executed)
    return truth


TRUTH = written()
CHECKED = ("zstd", "lz4", "unpacked", "unchunked")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One whole file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    test_rosbags.write1(folder / "a.bag")
    test_rosbags.write1(folder / "b.bag", test_rosbags.Writer1.CompressionFormat.BZ2)
    test_rosbags.write2(folder / "rec", StoragePlugin.SQLITE3)
    test_arrays.write_robomimic(folder / "a.hdf5")
    packed = io.BytesIO()
    np.savez_compressed(packed, **test_arrays.flat(50))
    return {
        "zstd": robot_log(),
        "lz4": robot_log(compression=CompressionType.LZ4),
        "unpacked": robot_log(compression=CompressionType.NONE),
        "unchunked": robot_log(use_chunking=False, enable_data_crcs=True),
        "bag": (folder / "a.bag").read_bytes(),
        "bag bz2": (folder / "b.bag").read_bytes(),
        "db3": next((folder / "rec").glob("*.db3")).read_bytes(),
        "hdf5": (folder / "a.hdf5").read_bytes(),
        "npz": packed.getvalue(),
    }


def cut(data: bytearray, at: int, random: random.Random) -> None:
    del data[at:]


def flip_one(data: bytearray, at: int, random: random.Random) -> None:
    data[at] ^= 1 << random.randrange(8)


def flip_many(data: bytearray, at: int, random: random.Random) -> None:
    for _ in range(20):
        flip_one(data, random.randrange(len(data)), random)


def zero(data: bytearray, at: int, random: random.Random) -> None:
    stop = min(len(data), at + random.choice((8, 512, 4096)))
    data[at:stop] = bytes(stop - at)


def noise(data: bytearray, at: int, random: random.Random) -> None:
    stop = min(len(data), at + random.choice((8, 512)))
    data[at:stop] = random.randbytes(stop - at)


def insert(data: bytearray, at: int, random: random.Random) -> None:
    data[at:at] = random.randbytes(random.randrange(1, 50))


def remove(data: bytearray, at: int, random: random.Random) -> None:
    del data[at : at + random.randrange(1, 200)]


DAMAGE: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    cut,
    flip_one,
    flip_many,
    zero,
    noise,
    insert,
    remove,
)


def read_here(path: Path) -> LogContent:
    return read_log(LogSource(str(path)), EMBODIMENTS, Sink())


def read(path: Path) -> LogContent | None:
    """What the log gives, None if it is unreadable. Any other exception fails the test.

    In a child: the HDF5 library loops for ever or dies on some damaged files.
    """
    before = sorted(path.parent.rglob("*"))
    try:
        return apart(0, read_here, path)
    except UnreadableLog:
        return None
    finally:
        assert sorted(path.parent.rglob("*")) == before


def check_rows(content: LogContent) -> None:
    for episode in content.episodes:
        for row in episode.steps.select(["t_ns", "state", "action", "valid"]).to_pylist():
            if row["valid"]:
                state, action = TRUTH[row["t_ns"]]
                assert row["state"] == state
                assert row["action"] in ([], action)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from((*CHECKED, "bag", "bag bz2", "db3", "hdf5", "npz")),
    harm=st.sampled_from(DAMAGE),
    place=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_damaged_files(
    tmp_path: Path, whole: dict[str, bytes], kind: str, harm: Any, place: float, seed: int
):
    data = bytearray(whole[kind])
    harm(data, int(place * len(data)), random.Random(seed))
    path = tmp_path / "log"
    path.write_bytes(data)
    content = read(path)
    if content is not None and kind in CHECKED:
        check_rows(content)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    version=st.sampled_from(("v2.1", "v3.0")),
    harm=st.sampled_from(DAMAGE),
    place=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_damaged_data_sets(tmp_path: Path, version: str, harm: Any, place: float, seed: int):
    original, root = tmp_path / version, tmp_path / "work" / "set"
    if not original.exists():
        test_lerobot.write(original, version)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(original, root)
    chance = random.Random(seed)
    file = chance.choice(sorted(p for p in root.rglob("*") if p.is_file()))
    data = bytearray(file.read_bytes())
    harm(data, int(place * len(data)), chance)
    file.write_bytes(data)
    read(root)


@pytest.mark.parametrize("name", ["zstd", "bag", "db3", "hdf5", "npz"])
def test_a_format_s_first_bytes_alone_are_no_log(tmp_path: Path, whole: dict[str, bytes], name: str):
    for size in (1, 8, 13, 16, 64, 100):
        (tmp_path / "log").write_bytes(whole[name][:size])
        assert read(tmp_path / "log") is None


@pytest.mark.parametrize(
    "foreign",
    [b"", b"\0" * 5000, b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"{}", b"SQLite format 3\0" + bytes(200)],
)
def test_foreign_files(tmp_path: Path, foreign: bytes):
    (tmp_path / "log.mcap").write_bytes(foreign)
    assert read(tmp_path / "log.mcap") is None


def test_links_in_a_folder_lead_nowhere(tmp_path: Path):
    root = test_lerobot.write(tmp_path / "set", "v2.1")
    elsewhere = tmp_path / "elsewhere.parquet"
    (root / "data/chunk-000/episode_000001.parquet").rename(elsewhere)
    (root / "data/chunk-000/episode_000001.parquet").symlink_to(elsewhere)
    (tmp_path / "folder").mkdir()
    shutil.copy(elsewhere, tmp_path / "folder/episode_000003.parquet")
    (root / "data/chunk-001").symlink_to(tmp_path / "folder")
    content = read(root)
    assert content is not None
    assert [e.attributes["episode_index"] for e in content.episodes] == ["0", "2"]
