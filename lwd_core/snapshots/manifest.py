"""An episode as a snapshot's manifest and shards tell it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from lwd_core.snapshots.episode_rows import StoredRows
from lwd_core.snapshots.shard_writer import Placed
from storage_schemas import snapshot_row
from storage_schemas.snapshot import Member


def tensors_of(rows: StoredRows) -> dict[str, np.ndarray]:
    """A sample's tensors, without frames; masked ones 0 where not valid, whatever was last known."""
    tensors = dict(rows.columns)
    for column in snapshot_row.ROW:
        if column.masked and column.name in tensors:
            values = tensors[column.name]
            valid = tensors["valid"][: len(values)].reshape(-1, *[1] * (values.ndim - 1))
            tensors[column.name] = np.where(valid, values, values.dtype.type(0))
    return tensors


def member_of(
    episode: Mapping[str, Any], tensors: Mapping[str, np.ndarray], frame_rate: float | None, place: Placed
) -> Member:
    """The manifest's entry of an episode whose sample lies at ``place``."""
    copied = (
        "episode_id", "log_id", "site", "day", "robot_id", "embodiment", "task", "instruction",
        "policy_id", "source", "outcome", "success", "end", "buffer",
    )  # fmt: skip
    return Member(
        **{name: episode[name] for name in copied},
        control_hz=frame_rate or episode["control_hz"],
        split=str(episode["split"]),
        steps=len(tensors["action"]),
        rows=len(tensors["state"]),
        human_steps=int(tensors["human"].sum()),
        state_width=tensors["state"].shape[1],
        action_width=tensors["action"].shape[1],
        shard=place.shard,
        index=place.index,
        offset=place.offset,
        bytes=place.bytes,
    )


def counts_of(members: list[Member]) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "episodes": len(members),
        "steps": sum(m.steps for m in members),
        "human_steps": sum(m.human_steps for m in members),
        "logs": len({m.log_id for m in members}),
    }
    for name in ("split", "source", "outcome", "task", "site", "robot_id", "embodiment", "buffer", "end"):
        counts[f"episodes_by_{name}"] = dict(sorted(Counter(getattr(m, name) for m in members).items()))
    return counts
