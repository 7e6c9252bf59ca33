import numpy as np
import pyarrow as pa
import pytest

from lwd_core.labels.checks import CHECKS
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.quality import QUALITY
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Dim, Embodiment, Feature
from storage_schemas.tables import STEPS
from tests.lwd_core.labels.conftest import episode_rows

ARM = Embodiment(
    name="arm",
    control_hz=10.0,
    state=(Feature("/state", tuple(Dim(f"q{i}", "rad") for i in range(3))),),
    action=(Feature("/action", tuple(Dim(f"a{i}", low=-1.0, high=1.0) for i in range(2))),),
)


def step_rows(i, phase, *, cameras=("front",), short=0):
    n = 10 + i
    rows = []
    for t in range(n + 1):
        angle = phase + 0.3 * t
        rows.append(
            {
                "episode_id": f"e{i:04d}",
                "log_id": f"l{i:04d}",
                "site": "north",
                "day": "2026-01-01",
                "step": t,
                "t_ns": 10**18 + t * 10**8,
                "state": [np.cos(angle), np.sin(angle), angle],
                "action": [0.8 * np.sin(angle), 0.5 * np.cos(angle)] if t < n else [],
                "actor": "policy",
                "valid": True,
                "gap": False,
                "frames": [
                    {"camera": c, "shard": "s.tar", "offset": 100 * t, "size": 10, "t_ns": 10**18 + t * 10**8}
                    for k, c in enumerate(cameras)
                    if t < n - k * short
                ],
            }
        )
    return rows


def verdicts(lake, check):
    rows = lake.read("labels", where='layer_id = ? AND "check" = ?', params=("quality@1", check)).sort_by(
        "episode_id"
    )
    return rows.column("text").to_pylist()


@pytest.fixture
def lake(tmp_path):
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    rows = [
        *step_rows(0, 0.0),
        *step_rows(1, 1.0),
        *step_rows(2, 2.0, cameras=("front", "wrist"), short=5),
        *step_rows(3, 0.5),
    ]
    lake.append("steps", pa.Table.from_pylist(rows, schema=STEPS.schema))
    lake.append("episodes", episode_rows(4))
    return lake


def test_every_episode_gets_every_verdict(lake):
    (run,) = run_labellers(lake, [QUALITY], embodiments={"arm": ARM}, now_ns=1)
    assert (run.episodes, run.rows) == (4, 4 * (len(CHECKS) + 1))
    assert verdicts(lake, "defect.monotone_time") == ["pass"] * 4
    assert verdicts(lake, "risk.saturated_action") == ["pass"] * 4
    assert verdicts(lake, "risk.near_duplicate") == ["pass"] * 4


def test_a_camera_that_fell_behind_is_named(lake):
    run_labellers(lake, [QUALITY], embodiments={"arm": ARM}, now_ns=1)
    rows = lake.read(
        "labels", where="\"check\" = 'defect.frames_against_steps' AND text = 'fail'"
    ).to_pylist()
    assert [r["episode_id"] for r in rows] == ["e0002"]
    assert "wrist has 7 frames where another has 12" in rows[0]["detail"]


def test_a_recording_taken_twice_is_found(lake):
    again = [row | {"episode_id": "e0004", "log_id": "l0004"} for row in step_rows(0, 0.0)]
    lake.append("steps", pa.Table.from_pylist(again, schema=STEPS.schema))
    twin = episode_rows(5).slice(4).to_pylist()[0] | {"steps": 10}
    lake.append("episodes", pa.Table.from_pylist([twin], schema=episode_rows(1).schema))
    run_labellers(lake, [QUALITY], embodiments={"arm": ARM}, now_ns=1)
    assert verdicts(lake, "risk.near_duplicate") == ["fail", "pass", "pass", "pass", "fail"]


def test_without_its_embodiment_limits_are_unknown(lake):
    run_labellers(lake, [QUALITY], embodiments={}, now_ns=1)
    assert verdicts(lake, "risk.saturated_action") == ["unknown"] * 4
    assert verdicts(lake, "defect.units") == ["unknown"] * 4
