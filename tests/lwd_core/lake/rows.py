"""Made-up rows that fit the tables."""

import hashlib

import numpy as np
import pyarrow as pa

from storage_schemas.tables import TABLES

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
STATE, ACTION = 39, 4


def vectors(count: int, width: int, seed: int) -> pa.Array:
    values = np.random.default_rng(seed).normal(size=count * width).astype(np.float32)
    offsets = np.arange(count + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def constant(value: object, count: int) -> pa.Array:
    return pa.array([value] * count)


def step_rows(
    episode: str, log: str, length: int, *, day: str = "2026-01-01", site: str = "lab", seed: int = 0
) -> pa.Table:
    return pa.table(
        {
            "episode_id": constant(episode, length),
            "log_id": constant(log, length),
            "site": constant(site, length),
            "day": constant(day, length),
            "step": pa.array(np.arange(length, dtype=np.int32)),
            "t_ns": pa.array(START + np.arange(length, dtype=np.int64) * 12_500_000),
            "state": vectors(length, STATE, seed),
            "action": vectors(length, ACTION, seed + 1_000_000),
            "actor": constant("policy", length),
            "valid": constant(True, length),
            "gap": constant(False, length),
        }
    )


def segment_rows(
    episode: str, log: str, length: int, *, day: str = "2026-01-01", site: str = "lab"
) -> pa.Table:
    row = {
        "episode_id": episode, "log_id": log, "site": site, "day": day, "segment": 0, "kind": "autonomous",
        "first_step": 0, "last_step": length - 1, "start_ns": START, "end_ns": START + length * 12_500_000,
        "actor": "policy", "who": "p", "reason": None,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=TABLES["segments"].schema)


def episode_row(
    episode: str, log: str, length: int, *, day: str = "2026-01-01", site: str = "lab", **other: object
) -> pa.Table:
    row = {
        "episode_id": episode, "log_id": log, "index_in_log": 0, "site": site, "day": day, "robot_id": "r1",
        "embodiment": "sawyer", "task": "reach-v3", "instruction": "reach the goal", "policy_id": None,
        "source": "rollout", "outcome": "success", "outcome_from": "robot", "end": "terminated",
        "steps": length,
        "human_steps": 0, "interventions": 0, "start_ns": START, "end_ns": START + length * 12_500_000,
        "control_hz": 80.0, "first_message": 0, "last_message": length, "attributes": "{}",
        "created_ns": START,
    }  # fmt: skip
    return pa.Table.from_pylist([row | other], schema=TABLES["episodes"].schema)


def fake_episodes(count: int, length: int, sites: int = 1) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Episodes, steps and segments of so many one-episode logs."""
    episodes, steps, segments = [], [], []
    for i in range(count):
        log = hashlib.sha256(f"log {i}".encode()).hexdigest()
        episode = hashlib.sha256(f"episode {i}".encode()).hexdigest()[:32]
        site = f"lab{i % sites}"
        episodes.append(episode_row(episode, log, length, site=site))
        steps.append(step_rows(episode, log, length, site=site, seed=i))
        segments.append(segment_rows(episode, log, length, site=site))
    return pa.concat_tables(episodes), pa.concat_tables(steps), pa.concat_tables(segments)


def label_rows(episodes: list[dict]) -> pa.Table:
    """One reward label an episode."""
    rows = [
        {name: e[name] for name in ("episode_id", "log_id", "site", "day", "created_ns")}
        | {"layer_id": "reward.sparse@1", "kind": "reward", "step": e["steps"] - 1, "value": 1.0}
        for e in episodes
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["labels"].schema)


def policy_row(policy: str, snapshots: list[str], parent: str | None = None) -> pa.Table:
    row = {
        "policy_id": policy, "uri": "nowhere", "stage": "sft", "parent": parent, "checkpoint": "c",
        "train_step": 1, "snapshots": snapshots, "config": "{}", "created_ns": START,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=TABLES["policies"].schema)
