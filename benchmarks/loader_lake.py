"""A lake of noise, and what its transitions are: the data of the loader's benchmarks."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from lwd_core.lake.store import Lake
from storage_schemas.tables import TABLES

#: Widths of state and action, frames of a chunk, transitions of a batch, steps of an episode.
STATE, ACTION, CHUNK, BATCH, LENGTH = 39, 4, 10, 256, 300


def synthetic_lake(root: Path, steps: int) -> Lake:
    """A lake of episodes of 300 steps, noise for state and action."""
    lake = Lake.open(str(root), create=True)
    rng = np.random.default_rng(0)
    count = max(1, steps // LENGTH)
    ids = [f"{int.from_bytes(rng.bytes(16), 'big'):032x}" for _ in range(count)]
    shared = {"site": "lab", "day": "2026-01-01"}
    for begin in range(0, count, 1000):
        part = ids[begin : begin + 1000]
        rows = len(part) * LENGTH
        lake.append(
            "steps",
            pa.table(
                {
                    "episode_id": pa.array(np.repeat(part, LENGTH)),
                    "log_id": pa.array(np.repeat(part, LENGTH)),
                    **{k: pa.array([v] * rows) for k, v in shared.items()},
                    "step": pa.array(np.tile(np.arange(LENGTH, dtype=np.int32), len(part))),
                    "t_ns": pa.array(np.tile(np.arange(LENGTH) * 12_500_000, len(part))),
                    "state": vectors(rng, rows, STATE),
                    "action": vectors(rng, rows, ACTION),
                    "actor": pa.array(["policy"] * rows),
                    "valid": pa.array(np.ones(rows, bool)),
                    "gap": pa.array(np.zeros(rows, bool)),
                }
            ),
        )
    episode = shared | {
        "index_in_log": 0, "robot_id": "r", "embodiment": "arm", "instruction": "reach", "policy_id": None,
        "source": "rollout", "outcome": "success", "outcome_from": "robot", "end": "terminated",
        "steps": LENGTH, "human_steps": 0, "interventions": 0, "start_ns": 0, "end_ns": 1, "control_hz": 80.0,
        "first_message": 0, "last_message": 1, "attributes": "{}", "created_ns": 0,
    }  # fmt: skip
    episodes = [episode | {"episode_id": e, "log_id": e, "task": f"task {i % 8}"} for i, e in enumerate(ids)]
    lake.append("episodes", pa.Table.from_pylist(episodes, TABLES["episodes"].schema))
    return lake


def vectors(rng: np.random.Generator, rows: int, width: int) -> pa.Array:
    """Lists of ``width`` normal numbers."""
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(rng.standard_normal(rows * width, np.float32)))
