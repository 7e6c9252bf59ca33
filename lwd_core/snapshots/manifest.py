"""An episode as a snapshot's manifest and shards tell it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from lwd_core.snapshots.select import EpisodeRows
from lwd_core.snapshots.shards import Placed
from storage_schemas.snapshot import Member


def tensors_of(rows: EpisodeRows) -> dict[str, np.ndarray]:
    """A sample's tensors, without frames; what is not valid is 0, whatever was last known of it."""
    valid = rows.valid[:, None]
    return {
        "state": np.where(valid, rows.state, np.float32(0)),
        "action": np.where(valid[: len(rows.action)], rows.action, np.float32(0)),
        "reward": rows.reward,
        "human": rows.human,
        "valid": rows.valid,
        "gap": rows.gap,
        "t_ns": rows.t_ns,
    }


def member_of(
    episode: Mapping[str, Any], rows: EpisodeRows, frame_rate: float | None, place: Placed
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
        steps=len(rows.action),
        rows=len(rows.state),
        human_steps=int(rows.human.sum()),
        state_width=rows.state.shape[1],
        action_width=rows.action.shape[1],
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
