"""LeRobot's robots and teleoperators in a fleet, by devices that have LeRobot's interface and no motors."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwd_core import plugins
from lwd_core.errors import UserError
from lwd_core.fleet.control import Control
from lwd_core.fleet.devices import made_controls
from lwd_core.fleet.rig import ControlRules, SafeStop
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.stand import RealStand
from lwd_core.fleet.task import Job, Task
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source
from tests.examples.installed import lwd
from tests.lwd_core.fleet.logs import Log
from tests.packages import PLUGINS, lay_project

FAKE = Path(__file__).with_name("fake_lerobot")
CAMERA = "{front: {type: opencv, index_or_path: 0, width: 32, height: 24, fps: 30}}"
ARM = ("--robot", "lerobot", "--set", "type=mock_follower", "--set", "port=/dev/ttyACM0", "--set", "hz=50")
#: nothing here may depend on how busy a machine is
RULES = ControlRules(plan_s=60, stale_ms=20_000, lost_ms=20_000, watchdog_ms=20_000)
PATIENT = {"stale_s": 20.0}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = lay_project(PLUGINS / "lerobot_arms", tmp_path / "site")
    return Path(shutil.copytree(FAKE, site, dirs_exist_ok=True))


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package and its LeRobot in this process."""
    monkeypatch.syspath_prepend(str(site))
    plugins._others.cache_clear()
    yield
    plugins._others.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] in ("draccus", "lerobot", "lerobot_arms")]:
        del sys.modules[name]


def stand(tmp_path: Path, leader: dict[str, Any], **given: Any) -> RealStand:
    made = {"type": "mock_follower", "port": "/dev/ttyACM0", "hz": 50, **PATIENT, **given}
    found = RealStand(Settings(home=str(tmp_path)), "lerobot", made, operator="anna")
    told = {"type": "mock_leader", **PATIENT, **leader}
    found.sit_down(made_controls(["lerobot-leader"], told, found.embodiment))
    return found


def test_it_is_driven_by_a_leader_into_an_empty_home(tmp_path: Path, site: Path) -> None:
    home = tmp_path / "home"
    said = lwd(
        home,
        site,
        *("robot", "run", *ARM, "--set", "stale_s=20", "--set", f"cameras={CAMERA}", "--set", "name=so-test"),
        *("--policy", "none", "--controls", "lerobot-leader", "--controls-set", "type=mock_leader"),
        *("--controls-set", "stale_s=20", "--controls-set", "every=40"),
        *("--controls-set", "events={is_intervention: [5, 10], success: [30, 32]}"),
        *("--task", "reach", "--instruction", "reach up", "--episodes", "2", "--stale-ms", "20000"),
        *("--lost-ms", "20000", "--watchdog-ms", "20000"),
    )
    assert "2 episodes, 2 successful" in said
    lwd(home, site, "ingest")
    query = (
        "SELECT embodiment, task, outcome, count(*) AS n, min(human_steps / steps) AS human, "
        "bool_and((attributes::JSON->>'camera_front_pictures')::INT > 0) AS seen FROM episodes GROUP BY ALL"
    )
    (row,) = json.loads(lwd(home, site, "sql", "--format", "json", query))
    assert row == {
        "embodiment": "so-test",
        "task": "reach",
        "outcome": "success",
        "n": 2,
        "human": 1.0,
        "seen": True,
    }


def test_the_draft_speaks_of_motors_units_ranges_and_cameras(here: None, tmp_path: Path) -> None:
    from lerobot_arms import LeRobotArm

    arm = LeRobotArm("mock_follower", port="", cameras={"front": json.loads(json.dumps(camera()))})
    told = parse_embodiment(arm.embodiment.read_text(), "draft")
    assert [(d.name, d.unit, d.low, d.high) for d in told.action_dims] == [
        ("pan", "deg", -90.02, 90.02),  # as calibrated
        ("lift", "%", -100, 100),
        ("gripper", "%", 0, 100),
    ]
    assert [(c.name, c.staleness_ms) for c in told.cameras] == [("front", 100)]
    assert told.limits is not None
    assert [(limit.dim, limit.state, limit.velocity) for limit in told.limits.dims][1] == (
        "lift",
        "lift",
        100,
    )


def camera() -> dict[str, Any]:
    return {"type": "opencv", "index_or_path": 0, "width": 32, "height": 24, "fps": 30}


class Zeros:
    """Wants all motors at 0."""

    policy_id, cameras, sizes = "zeros", (), {}

    def act(
        self, states: Any, instructions: Any, generator: Any, frames: Any = None, embodiment: str = ""
    ) -> Any:
        return np.zeros((len(states), 10, 3), np.float32)


def test_a_teleoperator_takes_over_and_gives_back_by_its_events(here: None, tmp_path: Path) -> None:
    placed = stand(tmp_path, {"events": {"is_intervention": [30, 60], "success": [90, 120]}})
    job = Job(Task("reach", 2000, ("reach",)), "reach", 1, Source.ROLLOUT)
    try:
        placed.connect()
        rig = placed.at(job.task)
        ran = (
            Control(rig, RobotSpec("r1", "lab", embodiment="mock-follower"), RULES)
            .run(job, Zeros(), tmp_path)
            .ran
        )
    finally:
        placed.close()
    assert ran is not None
    assert (ran.success, 0 < ran.human_steps < ran.steps) == (True, True)
    (path,) = tmp_path.glob("*.mcap")
    log = Log(path)
    assert [e for e in log.events if e.startswith("inter")] == ["intervention_on", "intervention_off"]
    acted = [m.actor for m in log.messages["/actor"]]
    assert (acted[0], acted[-1]) == ("policy", "policy")
    # the leader names its motors in another order than the follower; limits bring the arm there
    by_hand = np.array([m.values for m in log.messages["/action/executed"]])[[a == "human" for a in acted]]
    assert by_hand[-1] == pytest.approx([-15, 10, 20], abs=1e-5)
    assert np.abs(np.diff(by_hand, axis=0)).max() <= 100 / 50 + 1e-5


def test_it_says_what_was_sent_holds_where_it_is_and_tells_what_fails(here: None, tmp_path: Path) -> None:
    from lerobot_arms import LeRobotArm

    arm = LeRobotArm("mock_follower", hz=200, stale_s=0.3, port="", max_relative_target=5.0)
    arm.stop()  # nothing is connected, nothing is told
    arm.connect()
    assert arm.act(np.array([50.0, 2.0, 0.0])).tolist() == [5.0, 2.0, 0.0]  # clipped by LeRobot
    arm.act(np.array([50.0, 2.0, 0.0]))
    arm.stop()
    held = dict(arm.robot.sent[-1])
    assert held == pytest.approx(arm.robot.positions)
    arm.robot.positions["lift"] -= 3  # it sags
    arm.stop()
    assert arm.robot.sent[-1] == held
    arm.robot.fault = ConnectionError("the bus is gone")
    with pytest.raises(UserError, match="no reading for 300 ms .ConnectionError: the bus is gone"):
        _look_on(arm)
    arm.close()
    assert not arm.robot.is_connected


def _look_on(arm: Any) -> None:
    for _ in range(2000):
        arm.observe()
        time.sleep(0.005)


def test_a_leader_that_is_lost_stops_the_robot(here: None, tmp_path: Path) -> None:
    placed = stand(tmp_path, {"stale_s": 0.3, "events": {}})
    job = Job(Task("reach", 2000, ("reach",)), "reach", 1, Source.DEMONSTRATION)
    try:
        placed.connect()
        rig = placed.at(job.task)
        rig.buttons[0].teleop.fault = OSError("unplugged")  # type: ignore[attr-defined]
        with pytest.raises(SafeStop, match="mock_leader: no reading for 300 ms .OSError: unplugged"):
            Control(rig, RobotSpec("r1", "lab"), RULES).run(job, None, tmp_path)
        arm = rig.robot.robot  # type: ignore[attr-defined]
        assert arm.sent[-1] == pytest.approx(arm.positions)
    finally:
        placed.close()


@pytest.mark.parametrize(
    ("given", "leader", "says"),
    [
        ({"type": "so999_follower"}, {}, "knows no so999_follower.*: mock_follower.*no reachy2_sdk"),
        ({"prot": 1}, {}, "mock_follower can't be made of .*unexpected fields: prot"),
        ({"cameras": {"front": {"type": "film"}}}, {}, "knows no film among lerobot.cameras: opencv"),
        ({}, {"values": {"delta_x": 0.0}}, "mock_leader has no pan, lift, gripper.*; it has delta_x"),
        ({"calibrated": False}, {}, "mock_follower : it is not calibrated.*lerobot-calibrate"),
    ],
)
def test_what_does_not_fit_is_said(
    here: None, tmp_path: Path, given: dict[str, Any], leader: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        stand(tmp_path, leader, **given).connect()


def test_without_lerobot_it_is_one_line(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "lerobot_arms", tmp_path / "site"), tmp_path / "home"
    said = lwd(home, site, "robot", "check", *ARM, fails=True)
    assert "LeRobot can't be imported (No module named 'draccus'); pip install 'lerobot>=0.4.4'" in " ".join(
        said.split()
    )
    assert "Traceback" not in said
