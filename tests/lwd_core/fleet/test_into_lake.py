"""What robots land arrives in the lake as it was: the seam between recorder and readers."""

import json
from pathlib import Path

import numpy as np
import pytest

from lwd_core.fleet.actor import run_fleet
from lwd_core.fleet.config import FleetConfig, sample_fleet
from lwd_core.fleet.recorder import PARTIAL, Recorder
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.supervisor import Supervisor
from lwd_core.fleet.upload import land
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.scenes import training_seeds
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Actor, Source
from tests.lwd_core.fleet.conftest import Scripted
from tests.lwd_core.fleet.logs import Log

TASKS = ("button-press-topdown", "push")


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.open(settings.lake, create=True)


def take_in(lake: Lake, settings: Settings):
    known = load_embodiments(settings.embodiments)
    return ingest(lake, settings, [settings.landing], embodiments=known, now_ns=1)


def test_episodes_are_in_the_lake_as_they_happened(
    settings: Settings, lake: Lake, cells: Workcells, scripted: Scripted
) -> None:
    fleet = sample_fleet(TASKS, robots=2, sites=("north",), cameras=0)
    result = run_fleet(
        settings,
        fleet,
        day="2026-02-03",
        policy=scripted,
        seeds=training_seeds("lake", 2),
        source=Source.ONLINE,
        supervisor=Supervisor(rate=0.7, deadline=0.4),
        cells=cells,
    )
    taken = take_in(lake, settings)
    assert (taken.episodes, taken.tally("accepted").files) == (4, 4)
    assert taken.tally("accepted").bytes == result.bytes
    rows = {row["log_id"]: row for row in lake.read("episodes").to_pylist()}
    for delivered in result.delivered:
        ran, row = delivered.episode, rows[delivered.log.sha256]
        expected = {
            "robot_id": ran.robot_id,
            "site": "north",
            "day": "2026-02-03",
            "embodiment": "sawyer",
            "task": ran.task,
            "policy_id": "scripted",
            "source": "online",
            "outcome": "success" if ran.success else "failure",
            "outcome_from": "robot",
            "end": "terminated",
            "steps": ran.steps,
            "human_steps": ran.human_steps,
            "interventions": len(ran.reasons),
            "start_ns": ran.start_ns,
            "control_hz": 80.0,
        }
        assert {name: row[name] for name in expected} == expected
        assert json.loads(row["attributes"])["seed"] == str(ran.seed)
        log = Log(delivered.log.uri)
        steps = lake.sql(
            "SELECT state, action, actor, gap, valid FROM steps WHERE episode_id = ? ORDER BY step",
            (row["episode_id"],),
        )
        states = np.array(steps["state"].to_pylist(), np.float32)
        assert np.array_equal(states, np.array([s.values for s in log.messages["/state"]], np.float32))
        actions = steps["action"].to_pylist()
        assert actions[-1] == []
        executed = np.array([a.values for a in log.messages["/action/executed"]], np.float32)
        assert np.array_equal(np.array(actions[:-1], np.float32), executed)
        assert steps["actor"].to_pylist()[:-1] == [c.actor for c in log.messages["/actor"]]
        assert not any(steps["gap"].to_pylist())
        assert all(steps["valid"].to_pylist())
    again = take_in(lake, settings)
    assert again.episodes == 0


def test_the_log_of_a_killed_robot_comes_in_as_a_truncated_episode(
    settings: Settings, lake: Lake, tmp_path: Path
) -> None:
    Workcells().install(settings.embodiments)
    robot = RobotSpec("arm-00", "north", "sawyer")
    log = tmp_path / "20260203T080000000-push.mcap"
    with Recorder(log, robot, "p") as recorder:
        recorder.event(0, "episode_start", {"task": "push", "instruction": "push", "source": "online"})
        for tick in range(200):
            now = tick * 12_500_000
            recorder.state(now, [float(tick)] * 39)
            recorder.proposed(now, [0.0] * 4)
            recorder.control(now, Actor.POLICY, "p", "")
            recorder.executed(now, [0.0] * 4)
        left = log.with_name(log.name + PARTIAL).read_bytes()
    log.write_bytes(left)
    land(log, settings.landing, "north/2026-02-03/arm-00")
    taken = take_in(lake, settings)
    assert taken.tally("salvaged").files == 1
    (row,) = lake.read("episodes").to_pylist()
    assert (row["end"], row["outcome"], row["task"], row["policy_id"]) == (
        "truncated",
        "unknown",
        "push",
        "p",
    )
    assert 100 < row["steps"] < 200


def test_a_camera_arrives_frame_by_frame(settings: Settings, lake: Lake, cells: Workcells) -> None:
    pytest.importorskip("mujoco.egl")
    fleet = FleetConfig((RobotSpec("eye", "north", camera_hz=5.0),), ("push",))
    result = run_fleet(
        settings, fleet, day="2026-02-03", policy=None, seeds=[1], source=Source.DEMONSTRATION, cells=cells
    )
    take_in(lake, settings)
    frames = lake.sql("SELECT unnest(frames) AS frame FROM steps ORDER BY step").column("frame").to_pylist()
    sent = Log(result.logs[0]).messages["/camera/corner2"]
    assert len({frame["t_ns"] for frame in frames}) == len(sent)
    assert {frame["size"] for frame in frames} == {len(image.data) for image in sent}
