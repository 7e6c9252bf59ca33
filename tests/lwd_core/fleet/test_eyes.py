"""Robots that see: what a policy is shown is what is logged, whoever drives."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import simplejpeg

from lwd_core.errors import UserError
from lwd_core.fleet.actor import run_fleet
from lwd_core.fleet.channel import Loaded
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.evaluate import evaluate
from lwd_core.fleet.live import Deployment, Told, run_live
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.supervisor import Supervisor, Unattended
from lwd_core.fleet.workcells import Workcells
from lwd_core.policies.scenes import Purpose, scene_seeds
from tests.lwd_core.fleet.logs import Log
from tests.lwd_core.fleet.seeing import OWN, TASKS, Looker, SeeingArm
from tests.lwd_core.fleet.test_live import Clock

ROBOT = "tests.lwd_core.fleet.seeing:SeeingArms"
SCENES = scene_seeds(Purpose.EVALUATION, 4)
DAY = "2026-02-03"
NOBODY = Unattended()


@pytest.fixture
def cells():
    with Workcells(ROBOT) as pool:
        yield pool


def fleet(**camera):
    return FleetConfig((RobotSpec("eye", "north", **camera),), ("reach",), ROBOT)


def day(settings, cells, policy, seeds=(1,), supervisor=NOBODY, **camera):
    """The logs of a day."""
    robots = fleet(**camera)
    result = run_fleet(
        settings, robots, day=DAY, policy=policy, seeds=seeds, supervisor=supervisor, cells=cells
    )
    assert all(d.episode.steps > 5 for d in result.delivered)
    return [Log(uri) for uri in result.logs]


def ticks(log, camera="top"):
    """At which ticks a camera was logged."""
    begin = log.times["/state"][0]
    return [(t - begin) // 50_000_000 for t in log.times[f"/camera/{camera}"]]


def pictures(log, camera="top"):
    return [message.data for message in log.messages[f"/camera/{camera}"]]


def test_a_policy_is_shown_what_is_logged_at_the_stamp_of_its_plan(settings, cells):
    policy = Looker(("side", "top"))
    (log,) = day(settings, cells, policy)
    steps = log.counts["/action/proposed"]
    assert ticks(log) == ticks(log, "side") == list(range(0, steps, 5))
    for camera in ("top", "side"):
        assert [shown[camera] for shown in policy.shown] == pictures(log, camera)
    assert len(set(pictures(log, "side"))) > 1  # it moves, and the picture with it


def test_by_what_it_sees_it_reaches_what_no_state_tells(settings, cells):
    rows = evaluate(Looker(), ["reach"], SCENES, now_ns=1, robot=ROBOT, cells=cells)
    assert rows["success"].to_pylist() == [True] * 4


def test_size_is_the_fleets(settings, cells):
    (own,), (asked,) = day(settings, cells, Looker()), day(settings, cells, Looker(), (2,), camera_size=32)
    assert simplejpeg.decode_jpeg_header(pictures(own)[0])[:2] == (OWN, OWN)
    assert simplejpeg.decode_jpeg_header(pictures(asked)[0])[:2] == (32, 32)
    policy = Looker()
    evaluate(policy, ["reach"], SCENES[:1], now_ns=1, robot=ROBOT, cells=cells, camera_size=16)
    assert simplejpeg.decode_jpeg_header(policy.shown[0]["top"])[:2] == (16, 16)


def test_a_persons_turn_is_seen_from_its_first_tick_and_as_often_as_plans_are_made(settings, cells):
    (log,) = day(
        settings, cells, Looker(chunk=4), (3,), Supervisor(rate=1, deadline=0.15, patience=30), camera_hz=0
    )
    actors = [m.actor for m in log.messages["/actor"]]
    assert actors[:7] == ["policy"] * 6 + ["human"]
    assert set(actors[6:]) == {"human"}
    assert ticks(log) == [0, 4, *range(6, len(actors), 4)]


def test_a_rate_is_kept_beside_the_plans_and_a_demonstration_has_it_alone(settings, cells):
    (slow,) = day(settings, cells, Looker(chunk=20), (3,), camera_hz=5.0)
    assert ticks(slow)[:4] == [0, 4, 8, 12]
    demonstrated = run_fleet(
        settings, fleet(camera_hz=4.0), day="2026-02-04", policy=None, seeds=[3], cells=cells
    )
    assert ticks(Log(demonstrated.logs[0]))[:3] == [0, 5, 10]
    blind = run_fleet(settings, fleet(), day="2026-02-05", policy=None, seeds=[3], cells=cells)
    assert "/camera/top" not in Log(blind.logs[0]).counts


def test_a_camera_that_fails_is_named_with_the_robot(settings, cells):
    with cells.borrow(TASKS["reach"]) as cell:
        arm = cell.robot
    arm.broken = {"top"}
    with pytest.raises(UserError, match="robot eye: camera top shows nothing"):
        day(settings, cells, Looker())
    day(settings, cells, Looker(("side",)), (2,))  # nobody looks through the other
    arm.broken, arm.torn = set(), {"side"}
    with pytest.raises(UserError, match="robot eye: camera side gave .* no JPEG"):
        day(settings, cells, Looker(), (3,))


def test_a_camera_of_another_size_than_asked_is_refused(settings, cells):
    with cells.borrow(TASKS["reach"]) as cell:
        arm = cell.robot
    arm.photograph = lambda size=0: type(arm).photograph(arm)
    with pytest.raises(UserError, match=f"camera .* gave {OWN}x{OWN} pixels, camera_size asks for 32"):
        day(settings, cells, Looker(), camera_size=32)


def test_a_policy_of_other_cameras_is_refused_and_one_of_more_is_told_which_are_not_there(settings, cells):
    with pytest.raises(UserError, match="the policy sees tip, of which the embodiment file has none"):
        day(settings, cells, Looker(("tip",)))
    policy = Looker(("top", "wrist"))
    day(settings, cells, policy)
    assert {shown["wrist"] for shown in policy.shown} == {None}


def test_what_was_seen_does_not_change_with_how_many_run_together(settings, cells):
    alone = Looker()
    together = Looker()
    for policy, robots in ((alone, 1), (together, 3)):
        config = replace(fleet(), robots=tuple(RobotSpec(f"eye-{i}", "north") for i in range(robots)))
        run_fleet(settings, config, day=f"2026-03-0{robots}", policy=policy, seeds=[1, 2, 3],
                  supervisor=Unattended(), cells=cells)  # fmt: skip
    key = lambda shown: sorted(s["top"] for s in shown)  # noqa: E731
    assert key(alone.shown) == key(together.shown)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (lambda arm: {}, "shows nothing"),
        (lambda arm: arm.photograph(32), "shows 32x32 pixels, the policy learned from 24x24"),
        (lambda arm: {"top": (whole := arm.photograph())["top"][:-30], "side": whole["side"]}, "no JPEG"),
    ],
)
def test_a_fleet_works_on_while_one_robot_sees_nothing_it_can_plan_by(settings, cells, first, said):
    clock, told = Clock(), []
    policy = Looker(sizes={(OWN, OWN)})
    with cells.borrow(TASKS["reach"]) as cell:
        arm, looks = cell.robot, []
    sound = SeeingArm.photograph.__get__(arm)

    def photograph(size=0):
        looks.append(size)
        if len(looks) > 1:
            return sound(size)
        return first(SimpleNamespace(photograph=sound))

    arm.photograph = photograph
    robots = tuple(RobotSpec(f"eye-{i}", "north") for i in range(2))
    delivered = run_live(
        settings,
        FleetConfig(robots, ("reach",), ROBOT),
        Deployment("test", supervisor=NOBODY, episodes=2),
        Always(policy),
        told=Told(landed=lambda robot, log, ran: told.append((robot.robot_id, ran is not None)),
                  waiting=lambda robot, why: told.append((robot.robot_id, why))),
        now=clock.now,
        sleep=clock.sleep,
        cells=cells,
    )  # fmt: skip
    faults = [told for told in told if said in str(told[1])]
    assert len(faults) == 1
    assert sorted(d.episode.robot_id for d in delivered) == ["eye-0", "eye-1", "eye-1"]
    assert told.count(("eye-0", False)) == 1  # what there was of the episode has landed as well


def test_a_camera_of_another_size_for_good_ends_the_robots_episodes_and_not_the_process(settings, cells):
    clock, told = Clock(), []
    delivered = run_live(
        settings,
        fleet(),
        Deployment("test", supervisor=NOBODY, episodes=1),
        Always(Looker(sizes={(32, 32)})),
        told=Told(waiting=lambda robot, why: told.append(why)),
        now=clock.now,
        sleep=clock.sleep,
        cells=cells,
    )
    assert delivered == ()
    assert len([why for why in told if "learned from 32x32" in why]) == 1
    with pytest.raises(UserError, match="camera .* shows 24x24 pixels, the policy learned from 32x32"):
        evaluate(Looker(sizes={(32, 32)}), ["reach"], SCENES, now_ns=1, robot=ROBOT, cells=cells)


class Always:
    """One release for good."""

    def __init__(self, policy):
        self.policy = policy

    def newest(self, channel, now_ns):
        return Loaded(self.policy, "r", now_ns, now_ns)
