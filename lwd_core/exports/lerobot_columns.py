"""An episode's rows as LeRobot's features: names, types, widths and values.

Columns that state and action do not know are features of their own: ``intervention``,
``proposed_action``, ``valid``, ``observation.capture_time_ns``, where cameras differ ``present.CAMERA``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome

Feature = dict[str, object]


def describe(embodiment: Embodiment) -> dict[str, Feature]:
    """Features by name, in column order, as ``info.json`` wants them."""
    state = [dim.name for dim in embodiment.state_dims]
    action = [dim.name for dim in embodiment.action_dims]
    return {
        "observation.state": _feature("float32", state),
        "action": _feature("float32", action),
        "proposed_action": _feature("float32", action),
        "intervention": _feature("bool"),
        "valid": _feature("bool"),
        "observation.capture_time_ns": _feature("int64"),
        "next.reward": _feature("float32"),
        "next.done": _feature("bool"),
        "next.success": _feature("bool"),
        "next.terminated": _feature("bool"),
        "next.truncated": _feature("bool"),
        "timestamp": _feature("float32"),
        "frame_index": _feature("int64"),
        "episode_index": _feature("int64"),
        "index": _feature("int64"),
        "task_index": _feature("int64"),
    }


def with_presence(features: dict[str, Feature], cameras: Iterable[str]) -> dict[str, Feature]:
    """Features of a set in which an episode may lack a camera: ``present.CAMERA`` says whether it has it."""
    return features | {f"present.{camera}": _feature("bool") for camera in cameras}


def presence(cameras: Iterable[str], shown: Collection[str], length: int) -> dict[str, np.ndarray]:
    """The values of these features for one episode, (T, 1)."""
    return {f"present.{camera}": np.full((length, 1), camera in shown) for camera in cameras}


def values(
    episode: Mapping[str, Any],
    steps: pa.Table,
    fps: int,
    *,
    episode_index: int,
    first_index: int,
    task_index: int,
) -> dict[str, np.ndarray]:
    """The features of one episode as (T, width) arrays, in the order of ``describe``.

    ``steps`` are its action rows. Reward is the sparse one; LeRobot's time is nominal, the
    captured one stands beside it.
    """
    length = steps.num_rows
    frame = np.arange(length)
    last = frame == length - 1
    success = last & (episode["outcome"] == Outcome.SUCCESS)
    action = _numbers(matrix(steps, "action"))
    made = {
        "observation.state": _numbers(matrix(steps, "state")),
        "action": action,
        "proposed_action": _proposed(steps, action),
        "intervention": np.asarray(pc.equal(steps.column("actor"), Actor.HUMAN)),
        "valid": steps.column("valid").to_numpy(),
        "observation.capture_time_ns": steps.column("t_ns").to_numpy(),
        "next.reward": success.astype(np.float32),
        "next.done": last,
        "next.success": success,
        "next.terminated": last & (episode["end"] == EpisodeEnd.TERMINATED),
        "next.truncated": last & (episode["end"] == EpisodeEnd.TRUNCATED),
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, episode_index),
        "index": first_index + frame,
        "task_index": np.full(length, task_index),
    }
    return {name: column.reshape(length, -1) for name, column in made.items()}


def arrow(feature: Feature, column: np.ndarray) -> pa.Array:
    """A (T, width) array as LeRobot stores it: scalars, or lists of fixed size."""
    kind = pa.bool_() if feature["dtype"] == "bool" else pa.type_for_alias(str(feature["dtype"]))
    flat = pa.array(column.reshape(-1), kind)
    return flat if column.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, column.shape[1])


def matrix(steps: pa.Table, column: str) -> np.ndarray:
    """A list column of equal widths as (T, width)."""
    lists = steps.column(column).combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)


def _numbers(rows: np.ndarray) -> np.ndarray:
    """0 for what is not a number: ``valid`` says so of its row, and LeRobot's training stops at one NaN."""
    return np.where(np.isfinite(rows), rows, np.float32(0))


def _feature(dtype: str, names: Sequence[str] = ()) -> Feature:
    return {"dtype": dtype, "shape": [len(names) or 1], "names": list(names) or None}


def _proposed(steps: pa.Table, executed: np.ndarray) -> np.ndarray:
    """What the policy proposed; where none ran, the executed action, since LeRobot has no null."""
    filled = executed.copy()
    proposed = steps.column("proposed").combine_chunks()
    there = np.asarray(proposed.is_valid())
    if there.any():
        given = proposed.drop_null().flatten().to_numpy(zero_copy_only=False)
        filled[there] = _numbers(given.reshape(-1, executed.shape[1]))
    return filled
