"""Small lakes with known episodes."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.lake.store import Lake
from storage_schemas.tables import TABLES

START = 1_767_225_600_000_000_000


def episode_id(name: object) -> str:
    return hashlib.sha256(f"episode {name}".encode()).hexdigest()[:32]


def add_episode(
    lake: Lake,
    name: object,
    steps: int,
    *,
    actors: Sequence[str] | None = None,
    gaps: Sequence[int] = (),
    invalid: Sequence[int] = (),
    final: bool = True,
    widths: tuple[int, int] = (3, 2),
    seed: int = 0,
    frames: Sequence[Sequence[dict[str, Any]]] = (),
    **facts: Any,
) -> str:
    """One episode whose state counts up: state[t] = (seed, t, t²), action[t] = (t + 1, −t − 1)."""
    identity = episode_id(name)
    shared = {"episode_id": identity, "log_id": hashlib.sha256(identity.encode()).hexdigest(), "site": "lab",
              "day": "2026-01-01"}  # fmt: skip
    shared |= {k: v for k, v in facts.items() if k in ("site", "day")}
    actors = list(actors or ["policy"] * steps)
    rows = []
    for t in range(steps + final):
        state = np.resize(np.array([seed, t, t * t], np.float32), widths[0])
        action = np.resize(np.array([t + 1, -t - 1], np.float32), widths[1]) if t < steps else []
        rows.append(
            shared
            | {
                "step": t,
                "t_ns": START + t * 100_000_000,
                "state": state,
                "action": action,
                "actor": actors[min(t, steps - 1)],
                "valid": t not in invalid,
                "gap": t in gaps,
                "frames": frames[t] if frames else None,
            }
        )
    row = shared | {
        "index_in_log": 0,
        "robot_id": "r1",
        "embodiment": "arm",
        "task": "reach",
        "instruction": "reach the cup",
        "policy_id": None,
        "source": "rollout",
        "outcome": "success",
        "outcome_from": "robot",
        "end": "terminated",
        "steps": steps,
        "human_steps": actors.count("human"),
        "interventions": 0,
        "start_ns": START,
        "end_ns": START + steps * 100_000_000,
        "control_hz": 10.0,
        "first_message": 0,
        "last_message": steps,
        "attributes": "{}",
        "created_ns": START,
        "embodiment_digest": "e" * 64,
    }
    lake.append("steps", pa.Table.from_pylist(rows, TABLES["steps"].schema))
    lake.append("episodes", pa.Table.from_pylist([row | facts], TABLES["episodes"].schema))
    return identity
