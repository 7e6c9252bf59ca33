"""RLDS, read back by protobuf's own decoder. TensorFlow Datasets reads it too; it is too large for an install
of the tests, so the last test waits for whoever names a Python that has it."""

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lwd_core.errors import UserError
from lwd_core.exports.choices import MixedCameras
from lwd_core.exports.export import export
from lwd_core.exports.tfrecord import crc32c, example, masked
from lwd_core.lake.store import Lake
from tests.lwd_core.exports.test_cameras import BOTH, CAMERAS, TWO, T, grey
from tests.lwd_core.exports.test_cameras import lake as lake
from tests.lwd_core.recorded import ARM, LENGTHS, jpeg, recorded_lake

TFDS = os.environ.get("LWD_TFDS_PYTHON", "")


def _example_class() -> Any:
    """``tensorflow.Example`` as its .proto says, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, str, bool]) -> descriptor_pb2.DescriptorProto:
        made = file.message_type.add(name=name)
        for field, number, kind, of, repeated in fields:
            made.field.add(
                name=field, number=number, type=kind, type_name=of or None, label=3 if repeated else 1
            )  # type: ignore[arg-type]
        return made

    message("BytesList", ("value", 1, 12, "", True))
    message("FloatList", ("value", 1, 2, "", True))
    message("Int64List", ("value", 1, 3, "", True))
    message(
        "Feature",
        ("bytes_list", 1, 11, ".t.BytesList", False),
        ("float_list", 2, 11, ".t.FloatList", False),
        ("int64_list", 3, 11, ".t.Int64List", False),
    )
    features = message("Features", ("feature", 1, 11, ".t.Features.FeatureEntry", True))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".t.Feature", label=1)
    message("Example", ("features", 1, 11, ".t.Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


EXAMPLE = _example_class()


def parsed(message: bytes) -> dict[str, list]:
    found = EXAMPLE.FromString(message).features.feature
    lists = {
        name: next(v for _, v in value.ListFields()) if value.ListFields() else None
        for name, value in found.items()
    }
    return {name: list(held.value) if held is not None else [] for name, held in lists.items()}


def records(file: Path) -> list[dict[str, list]]:
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        message, rest = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", data[8:12])[0] == masked(crc32c(data[:8]))
        assert struct.unpack("<I", rest[:4])[0] == masked(crc32c(message))
        found.append(parsed(message))
        data = rest[4:]
    return found


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_are_castagnoli_s(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@pytest.mark.parametrize("size", [127, 128, 129, 4_096, 70_001, 600_011])
def test_lanes_give_what_byte_by_byte_gives(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    halves = crc32c(data + bytes(40)), crc32c(data)
    state = halves[1] ^ 0xFFFFFFFF
    for _ in range(40 * 8):
        state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert halves[0] == state ^ 0xFFFFFFFF


def test_a_message_is_what_protobuf_reads() -> None:
    told = {
        "b": [b"", b"abc" * 100],
        "f": np.array([[1.5, -2.0], [0.0, 3e30]], np.float32),
        "i": np.array([0, -1, 2**62, 300], np.int64),
        "t": np.array([True, False]),
    }
    found = parsed(example(told))
    assert found["b"] == told["b"]
    assert found["f"] == told["f"].reshape(-1).tolist()  # type: ignore[union-attr]
    assert found["i"] == [0, -1, 2**62, 300]
    assert found["t"] == [1, 0]


def test_every_value_of_the_lake_is_in_the_set(tmp_path: Path) -> None:
    lake = recorded_lake(tmp_path / "lake")
    done = export("rlds", lake, tmp_path / "set", embodiments={"arm": ARM})
    place = done.folder / "lwd/1.0.0"
    found = records(place / "lwd-train.tfrecord-00000-of-00001")
    info = json.loads((place / "dataset_info.json").read_text())
    assert info["splits"][0]["shardLengths"] == ["3"]
    assert int(info["splits"][0]["numBytes"]) == (place / "lwd-train.tfrecord-00000-of-00001").stat().st_size
    for i, (episode, length) in enumerate(zip(found, LENGTHS, strict=True)):
        steps = lake.read("steps", where=f"episode_id = 'e{i:04d}' AND step < {length} ORDER BY step")
        for feature, column in (("observation/state", "state"), ("action", "action")):
            flat = [number for row in steps[column].to_pylist() for number in row]
            assert episode[f"steps/{feature}"] == flat
        assert episode["steps/capture_time_ns"] == steps["t_ns"].to_pylist()
        assert episode["steps/intervention"] == [actor == "human" for actor in steps["actor"].to_pylist()]
        assert episode["steps/is_first"] == [1] + [0] * (length - 1)
        assert episode["steps/is_last"] == [0] * (length - 1) + [1]
        assert sum(episode["steps/reward"]) == (i == 0)
        assert episode["steps/language_instruction"] == [b"reach the cup"] * length
        seen = [jpeg(i, max(1, t if t % 2 else t - 1)) for t in range(length)]
        assert episode["steps/observation/front"] == seen  # as the robot sent them
    assert [e["episode_metadata/outcome"] for e in found] == [[b"success"], [b"failure"], [b"unknown"]]
    assert "steps/observation/present_front" not in found[0]
    steps_of = json.loads((place / "features.json").read_text())["featuresDict"]["features"]["steps"]
    described = steps_of["sequence"]["feature"]["featuresDict"]["features"]
    told = {name.removeprefix("steps/").split("/")[0] for name in found[0] if name.startswith("steps/")}
    assert told == described.keys()


def test_cameras_that_differ_are_refused_padded_or_grouped(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="camera wrist is in some episodes only; choose --cameras pad or group"
    ):
        export("rlds", lake, tmp_path / "no", embodiments={"arm": TWO})
    padded = export("rlds", lake, tmp_path / "pad", embodiments={"arm": TWO}, mixed=MixedCameras.PAD)
    found = records(padded.folder / "lwd/1.0.0/lwd-train.tfrecord-00000-of-00001")
    assert [e["steps/observation/present_wrist"] for e in found] == [[1] * T, [0] * T, [1] * T]
    assert found[1]["steps/observation/front"][0] == grey(1, *CAMERAS[1]["front"])  # as the robot sent it
    grouped = export("rlds", lake, tmp_path / "group", embodiments={"arm": TWO}, mixed=MixedCameras.GROUP)
    assert sorted(path.name for path in grouped.folder.iterdir()) == ["front-48x64", BOTH]
    assert len(records(grouped.folder / BOTH / "lwd/1.0.0/lwd-train.tfrecord-00000-of-00001")) == 2


def test_a_file_that_is_full_is_followed_by_another(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lwd_core.exports.rlds.SHARD_BYTES", 10)
    done = export("rlds", lake, tmp_path / "set", embodiments={"arm": TWO}, videos=False)
    names = sorted(path.name for path in (done.folder / "lwd/1.0.0").iterdir())
    assert names[2:] == [f"lwd-train.tfrecord-{i:05d}-of-00003" for i in range(3)]


SEEN = """
import sys, numpy as np, tensorflow_datasets as tfds
for episode in tfds.load("lwd", data_dir=sys.argv[1], split="train"):
    steps = list(episode["steps"].as_numpy_iterator())
    step = steps[-1]
    seen = step["observation"].items()
    pictures = {k: [v.shape, round(float(v.mean()))] for k, v in seen if v.ndim == 3}
    outcome = episode["episode_metadata"]["outcome"].numpy().decode()
    print(len(steps), outcome, step["is_last"], step["reward"],
          step["action"].tolist(), step["observation"]["state"].tolist(), pictures)
"""


@pytest.mark.skipif(not TFDS, reason="LWD_TFDS_PYTHON names no Python with tensorflow_datasets")
def test_tensorflow_datasets_itself_reads_it(lake: Lake, tmp_path: Path) -> None:
    done = export("rlds", lake, tmp_path / "set", embodiments={"arm": TWO}, mixed=MixedCameras.PAD)
    read = subprocess.run(
        [TFDS, "-c", SEEN, str(done.folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert read.returncode == 0, read.stderr
    lines = read.stdout.splitlines()
    assert lines[0] == (
        f"{T} success True 1.0 [0.0, 0.5] [0.0, 0.0, 6.0] "
        "{'front': [(48, 64, 3), 100], 'wrist': [(32, 32, 3), 100]}"
    )
    assert lines[1].startswith(f"{T} failure True 0.0")
    assert "'front': [(64, 48, 3), 140], 'wrist': [(32, 32, 3), 0]" in lines[1]
    assert len(lines) == 3
