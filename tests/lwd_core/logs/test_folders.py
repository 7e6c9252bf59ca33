"""Which folders are one log, and which files are theirs."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import Writer

from lwd_core.logs.folders import folder_logs
from lwd_core.logs.source import LogSource

BAG = "rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n"


def logs(files: dict[str, bytes], **other: object) -> dict[str, tuple[str, ...]]:
    return folder_logs(files, lambda name: io.BytesIO(files[name]), **other)  # type: ignore[arg-type]


def metadata(*parts: str) -> bytes:
    return (BAG + "".join(f"    - {part}\n" for part in parts) + "  duration: {nanoseconds: 1}\n").encode()


def part(start_ns: int, end_ns: int, profile: str = "ros2") -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream)
    writer.start(profile=profile)
    channel = writer.register_channel("/x", "json", 0)
    for t in (start_ns, end_ns):
        writer.add_message(channel, t, b"{}", t)
    writer.finish()
    return stream.getvalue()


def test_a_bag_holds_what_its_metadata_lists() -> None:
    files = {
        "run/metadata.yaml": metadata("run_0.db3", "run/run_1.db3"),
        "run/run_0.db3": b"",
        "run/run_0.db3-wal": b"",
        "run/run_1.db3": b"",
        "run/run_2.db3": b"",  # begun, and not listed before the recorder died
        "run/other.mcap": b"",
        "run/deeper/run_0.db3": b"",
    }
    assert logs(files) == {
        "run": ("metadata.yaml", "run_0.db3", "run_0.db3-wal", "run_1.db3", "run_2.db3"),
    }


@pytest.mark.parametrize(
    "mark", [b"", b"notes: a file of somebody's own\n", metadata("elsewhere_0.db3"), b"\xff\x00", b"{"]
)
def test_a_mark_above_takes_nothing_in(mark: bytes) -> None:
    files = {"metadata.yaml": mark, "lab/2026-01-01/r1/a.mcap": b"", "lab/2026-01-01/r2/b.mcap": b""}
    assert logs(files) == {}


def test_a_set_holds_meta_data_and_videos_and_no_recordings() -> None:
    own = ("README.md", "data/chunk-000/file-000.parquet", "meta/info.json", "videos/cam/x.mp4")
    files = {f"set/{name}": b"" for name in own}
    files |= {"set/lab/2026-01-01/r1/a.mcap": b"", "set/data/stray.mcap": b"", "set/b.hdf5": b""}
    assert logs(files) == {"set": own}


def test_a_set_within_a_set_is_its_own() -> None:
    files: dict[str, bytes] = dict.fromkeys(
        ("a/meta/info.json", "a/data/x.parquet", "a/data/b/meta/info.json", "a/data/b/data/y.parquet"), b""
    )
    assert logs(files) == {
        "a": ("data/x.parquet", "meta/info.json"),
        "a/data/b": ("data/y.parquet", "meta/info.json"),
    }
    assert logs(files, fit=lambda folder: folder != "a") == {"a/data/b": ("data/y.parquet", "meta/info.json")}


def test_the_parts_of_a_killed_recorder_are_one_log() -> None:
    second = 10**9
    one = {f"run/run_{i}.mcap": part(i * second, (i + 1) * second) for i in range(11)}
    assert set(logs(one)["run"]) == {f"run_{i}.mcap" for i in range(11)}
    assert logs({"run/run_0.db3": b"", "run/run_2.db3": b""}) == {"run": ("run_0.db3", "run_2.db3")}
    cut = one | {"run/run_10.mcap": one["run/run_10.mcap"][:60]}
    assert len(logs(cut)["run"]) == 11


def test_recordings_that_were_numbered_by_hand_stay_their_own() -> None:
    second = 10**9
    apart = {f"day/episode_{i}.mcap": part(60 * i * second, (60 * i + 30) * second) for i in range(3)}
    assert logs(apart) == {}
    foreign = {f"day/episode_{i}.mcap": part(i * second, (i + 1) * second, "x") for i in range(3)}
    assert logs(foreign) == {}
    mixed = {"day/a_0.db3": b"", "day/a_1.db3": b"", "day/b.db3": b""}
    assert logs(mixed) == {}


PARTS = st.sampled_from(
    ["a", "meta", "data", "info.json", "metadata.yaml", "x_0.db3", "x_1.db3", "f.parquet"]
)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=5).map("/".join), unique=True))
def test_every_file_belongs_to_one_log_at_most(names: list[str]) -> None:
    found = logs({name: metadata("x_0.db3") for name in names})
    held = [f"{folder}/{name}" if folder else name for folder, parts in found.items() for name in parts]
    assert len(held) == len(set(held))
    assert set(held) <= set(names)


def test_a_databases_log_of_changes_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.db3").write_bytes(b"12")
    alone = LogSource(str(tmp_path / "a.db3"))
    assert (alone.size, alone.beside) == (2, ())
    (tmp_path / "a.db3-wal").write_bytes(b"345")
    both = LogSource(str(tmp_path / "a.db3"))
    assert (both.size, both.beside) == (5, ("a.db3-wal",))
    assert both.sha256() != alone.sha256()


@pytest.mark.parametrize(
    "name", ["zip::a.mcap", "a*b?[c].mcap", "s3:x", "file::memory.mcap", "~", "%2e%2e", "a\nb"]
)
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"12")
    source = LogSource(str(tmp_path / name))
    assert source.size == 2
    with source.open() as stream:
        assert stream.read() == b"12"
