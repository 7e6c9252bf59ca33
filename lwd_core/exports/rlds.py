"""Export episodes as RLDS: what TensorFlow Datasets reads, written without it.

    <out>/lwd/1.0.0/dataset_info.json, features.json, lwd-train.tfrecord-00000-of-00003, …

``tfds.load("lwd", data_dir=<out>)`` reads it. An episode is one record with its ``steps`` and
``episode_metadata``. Each step has an action; the last one's reward is 1 after a success, its discount 0
where the task ended. Camera frames are the bytes the robot sent.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import simplejpeg

from lwd_core.errors import UserError
from lwd_core.exports import lerobot_columns
from lwd_core.exports.choices import MixedCameras
from lwd_core.exports.export import Kind, Selection, Written, kind_folder
from lwd_core.exports.lerobot_meta import FACTS, task_text
from lwd_core.exports.tfrecord import Values, example, write_record
from lwd_core.lake.pictures import card, decoded
from storage_schemas.embodiment import Embodiment

NAME, VERSION = "lwd", "1.0.0"
SHARD_BYTES = 200 * 2**20
_CLASS = "tensorflow_datasets.core.features"
#: Facts that are numbers; the others are texts.
_NUMBERS = ("human_steps", "interventions", "start_ns", "end_ns")


class RldsExporter:
    """Writes a set of one embodiment; memory holds one episode.

    A camera that some episodes lack is refused, shown black with ``observation/present_CAMERA`` false
    (``pad``), or makes sets of its own (``group``). Sizes may differ: RLDS has no films.
    """

    def write(self, selected: Selection, folder: Path) -> Written:
        """Write the set. Raises UserError for episodes that make no set."""
        embodiment = selected.embodiment("an RLDS set")
        kinds = selected.groups()
        cameras = {tuple(camera for camera, _ in kind) for kind in kinds}
        if len(cameras) == 1 or selected.mixed is MixedCameras.PAD:
            return _write(selected, folder, embodiment, kinds)
        if selected.mixed is MixedCameras.GROUP:
            parts = [
                _write(part, folder / kind_folder(kind), embodiment, [kind]) for kind, part in kinds.items()
            ]
            names = dict.fromkeys(camera for part in parts for camera in part.cameras)
            return Written(tuple(names), sum(part.unshown for part in parts))
        every = {camera for kind in cameras for camera in kind}
        some = sorted(camera for camera in every if not all(camera in kind for kind in cameras))
        raise UserError(
            f"camera {', '.join(some)} is in some episodes only; choose --cameras pad or group, or leave the "
            "frames out (--no-videos)"
        )


def _write(selected: Selection, folder: Path, embodiment: Embodiment, kinds: Iterable[Kind]) -> Written:
    sizes: dict[str, set[tuple[int, int]]] = {}
    for camera, size in sorted(part for kind in kinds for part in kind):
        sizes.setdefault(camera, set()).add(size)
    padded = any({camera for camera, _ in kind} != sizes.keys() for kind in kinds)
    place = folder / NAME / VERSION
    place.mkdir(parents=True)
    shards, frames = _Shards(place), _ShownFrames({camera: max(found) for camera, found in sizes.items()})
    for episode in selected:
        steps = selected.steps(episode)
        values = _episode(episode, steps) | frames.of(selected.frames(steps), steps.num_rows, padded=padded)
        try:
            shards.add(example(values))
        except ValueError as error:
            raise UserError(
                f"episode {episode['episode_id']}: {error}; leave it or its frames out"
            ) from error
    described = _features(embodiment, sizes, padded=padded)
    (place / "features.json").write_text(json.dumps(described, indent=1))
    (place / "dataset_info.json").write_text(json.dumps(shards.finish(), indent=1))
    return Written(tuple(sizes), frames.unshown)


class _Shards:
    """TFRecord files; how many there are, their names say, so they get theirs in the end."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._lengths: list[int] = []
        self._bytes = self._here = 0
        self._file: BinaryIO | None = None

    def add(self, message: bytes) -> None:
        if self._file is None or self._here + len(message) > SHARD_BYTES:
            self._close()
            self._file = (self._place / f"shard-{len(self._lengths)}").open("xb")
            self._lengths.append(0)
            self._here = 0
        written = write_record(self._file, message)
        self._here += written
        self._bytes += written
        self._lengths[-1] += 1

    def finish(self) -> dict[str, Any]:
        """Name the files; what ``dataset_info.json`` says of them."""
        self._close()
        count = len(self._lengths)
        for i in range(count):
            name = f"{NAME}-train.tfrecord-{i:05d}-of-{count:05d}"
            (self._place / f"shard-{i}").rename(self._place / name)
        split = {
            "name": "train",
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "numBytes": str(self._bytes),
            "shardLengths": [str(length) for length in self._lengths],
        }
        about = "Episodes of a robot fleet, exported from an LWD lake."
        return {
            "name": NAME,
            "version": VERSION,
            "description": about,
            "fileFormat": "tfrecord",
            "splits": [split],
        }

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _ShownFrames:
    """Camera frames step by step. ``unshown`` counts those that are none: a card stands in their place."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._sizes = sizes
        self._cards = {camera: _jpeg(card(*size)) for camera, size in sizes.items()}
        self._black = {camera: _jpeg(np.zeros((*size, 3), np.uint8)) for camera, size in sizes.items()}
        self.unshown = 0

    def of(self, shown: Mapping[str, Iterable[bytes]], length: int, *, padded: bool) -> dict[str, Values]:
        """An episode's features, for T = ``length`` steps."""
        found: dict[str, Values] = {}
        for camera in self._sizes:
            there = camera in shown
            found[f"steps/observation/{camera}"] = (
                self._sound(camera, shown[camera]) if there else [self._black[camera]] * length
            )
            if padded:
                found[f"steps/observation/present_{camera}"] = np.full(length, there)
        return found

    def _sound(self, camera: str, frames: Iterable[bytes]) -> list[bytes]:
        """One that can't be decoded would end whoever reads the set."""
        line: list[bytes] = []
        last, sound = None, b""
        for data in frames:
            if data is not last:
                last, sound = data, data if decoded(data) is not None else b""
            self.unshown += not sound
            line.append(sound or self._cards[camera])
        return line


def _episode(episode: Mapping[str, Any], steps: pa.Table) -> dict[str, Values]:
    """Steps as flat features, (T, …) each, and what the lake knows of the whole."""
    columns = lerobot_columns.values(episode, steps, 1, episode_index=0, first_index=0, task_index=0)
    length = steps.num_rows
    last = columns["next.done"].reshape(-1)
    terminal = columns["next.terminated"].reshape(-1)
    told: dict[str, Values] = {
        f"episode_metadata/{fact}": np.array([episode[fact] or 0], np.int64)
        if fact in _NUMBERS
        else [str(episode[fact] if episode[fact] is not None else "").encode()]
        for fact in FACTS
    }
    of_steps: dict[str, Values] = {
        "steps/observation/state": columns["observation.state"].astype(np.float32),
        "steps/action": columns["action"].astype(np.float32),
        "steps/proposed_action": columns["proposed_action"].astype(np.float32),
        "steps/reward": columns["next.reward"].astype(np.float32),
        "steps/discount": (~terminal).astype(np.float32),
        "steps/is_first": np.arange(length) == 0,
        "steps/is_last": last,
        "steps/is_terminal": terminal,
        "steps/intervention": columns["intervention"].astype(np.bool_),
        "steps/valid": columns["valid"].astype(np.bool_),
        "steps/capture_time_ns": columns["observation.capture_time_ns"].astype(np.int64),
        "steps/language_instruction": [task_text(episode).encode()] * length,
    }
    return told | of_steps


def _features(
    embodiment: Embodiment, sizes: Mapping[str, set[tuple[int, int]]], *, padded: bool
) -> dict[str, Any]:
    """What ``features.json`` says: the shape and type of all of it, as TensorFlow Datasets names them."""
    action = _tensor("float32", len(embodiment.action_dims))
    observation = {"state": _tensor("float32", len(embodiment.state_dims))}
    for camera, found in sizes.items():
        height, width = next(iter(found)) if len(found) == 1 else (-1, -1)
        observation[camera] = {
            "pythonClassName": f"{_CLASS}.image_feature.Image",
            "image": {
                "shape": {"dimensions": [str(height), str(width), "3"]},
                "dtype": "uint8",
                "encodingFormat": "jpeg",
            },
        }
        if padded:
            observation[f"present_{camera}"] = _tensor("bool")
    flags = ("is_first", "is_last", "is_terminal", "intervention", "valid")
    steps = {
        "observation": _group(observation),
        "action": action,
        "proposed_action": action,
        "reward": _tensor("float32"),
        "discount": _tensor("float32"),
        **{flag: _tensor("bool") for flag in flags},
        "capture_time_ns": _tensor("int64"),
        "language_instruction": _TEXT,
    }
    facts = {fact: _tensor("int64") if fact in _NUMBERS else _TEXT for fact in FACTS}
    of_steps = {
        "pythonClassName": f"{_CLASS}.dataset_feature.Dataset",
        "sequence": {"feature": _group(steps), "length": "-1"},
    }
    return _group({"steps": of_steps, "episode_metadata": _group(facts)})


_TEXT: dict[str, Any] = {"pythonClassName": f"{_CLASS}.text_feature.Text", "text": {}}


def _tensor(dtype: str, width: int | None = None) -> dict[str, Any]:
    kind = "scalar.Scalar" if width is None else "tensor_feature.Tensor"
    shape = {} if width is None else {"dimensions": [str(width)]}
    return {
        "pythonClassName": f"{_CLASS}.{kind}",
        "tensor": {"shape": shape, "dtype": dtype, "encoding": "none"},
    }


def _group(features: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CLASS}.features_dict.FeaturesDict",
        "featuresDict": {"features": dict(features)},
    }


def _jpeg(pixels: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels))
