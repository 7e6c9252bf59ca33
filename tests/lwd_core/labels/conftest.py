import pyarrow as pa
import pytest

from lwd_core.lake.store import Lake
from storage_schemas.tables import EPISODES


def episode_rows(n: int, *, outcome=lambda i: ("success", "failure", "unknown")[i % 3], day="2026-01-01"):
    rows = [
        {
            "episode_id": f"e{i:04d}",
            "log_id": f"l{i:04d}",
            "index_in_log": 0,
            "site": "north",
            "day": day,
            "robot_id": f"r{i % 4}",
            "embodiment": "arm",
            "task": "reach",
            "instruction": "reach the cup",
            "policy_id": None,
            "source": "rollout",
            "outcome": outcome(i),
            "outcome_from": "robot",
            "end": "terminated",
            "steps": 10 + i,
            "human_steps": 0,
            "interventions": 0,
            "start_ns": 10**18 + i,
            "end_ns": 10**18 + i + 10**9,
            "control_hz": 10.0,
            "first_message": 0,
            "last_message": 99,
            "attributes": "{}",
            "created_ns": 1,
        }
        for i in range(n)
    ]
    return pa.Table.from_pylist(rows, schema=EPISODES.schema)


@pytest.fixture
def lake(tmp_path):
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    lake.append("episodes", episode_rows(6))
    return lake
