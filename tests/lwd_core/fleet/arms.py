"""A robot of a few lines in real time, time that leaps, and whoever presses its buttons."""

from collections import deque

import numpy as np
import simplejpeg

from lwd_core.fleet.control import Control
from lwd_core.fleet.pace import LeapTime
from lwd_core.fleet.rig import ControlRules, Rig
from lwd_core.fleet.robot import Button, Observed, Picture, Press, RobotSpec
from lwd_core.fleet.task import Job, Task
from lwd_core.logs.embodiment import parse_embodiment
from storage_schemas.vocabulary import Outcome, Source

HZ = 20
START_NS = 1_770_000_000_000_000_000
#: Positions are commanded, and measured.
FILE = """\
name: two-joints
control_hz: 20
match: {embodiment: two-joints}
time: {clock: log, ticks: /state}
state:
  - {topic: /state, field: values, dims: [{name: a, unit: rad}, {name: b, unit: rad}]}
action:
  - topic: /action/executed
    field: values
    dims: &action [{name: to_a, unit: rad, low: -1, high: 1}, {name: to_b, unit: rad, low: -1, high: 1}]
proposed: [{topic: /action/proposed, field: values, dims: *action}]
cameras: [{name: top, topic: /camera/top, staleness_ms: 1000}]
actor: {topic: /actor, field: actor, human: [human], operator: operator, policy: policy_id}
events: {topic: /event, kind: kind, attributes: attributes}
episodes: {boundary: events}
"""
LIMITS = """\
limits:
  version: 1
  dims:
    - {dim: to_a, high: 0.5, velocity: 2, step: 0.3, state: a}
    - {dim: to_b, velocity: 4}
"""
TASK = Task("reach", limit=30, instructions=("reach out",))
JPEG = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))


class TwoJoints:
    """Goes where it is told. ``faults``: by tick, what goes wrong: an exception, or a word."""

    control_hz = float(HZ)

    def __init__(self, keeper=None, faults=None):
        self.keeper, self.faults = keeper or LeapTime(START_NS), faults or {}
        self.joints = np.zeros(2)
        self.did, self.commands, self.ticks = [], [], 0
        self.seen_ns = None

    def connect(self):
        self.did.append("connect")

    def observe(self):
        now, fault = self.keeper.now_ns(), self.faults.get(self.ticks)
        self.ticks += 1
        if isinstance(fault, BaseException):
            raise fault
        if callable(fault):
            fault()
        if fault == "stale" or self.seen_ns is not None:
            self.seen_ns = self.seen_ns or now - 1
        taken = now + {"camera": -2, "ahead": 3600}.get(str(fault), 0) * 1_000_000_000
        pictures = {} if fault == "blind" else {"top": Picture(JPEG, taken)}
        return Observed(self.joints.copy(), self.seen_ns or now, pictures)

    def act(self, action):
        self.commands.append(action)
        self.joints = action.copy()

    def stop(self):
        self.did.append("stop")

    def close(self):
        self.did.append("close")


class Pressing:
    """Presses by tick, and drives to a place."""

    def __init__(self, presses=(), to=(0.2, 0.2)):
        self.presses, self.to = dict(presses), np.array(to, float)
        self.tick, self.taken_over = 0, []

    def connect(self):
        """Nothing to open."""

    def pressed(self):
        found = self.presses.pop(self.tick, [])
        self.tick += 1
        return [p if isinstance(p, Press) else Press(Button(p)) for p in found]

    def take_over(self, state):
        self.taken_over.append(state)

    def drive(self, state):
        return self.to

    def close(self):
        """Nothing to free."""


class Counting:
    """Plans ``chunk`` actions, the n-th plan's all n/100; keeps the states it planned from."""

    policy_id = "counting"
    sizes = {}  # noqa: RUF012

    def __init__(self, chunk=4, cameras=()):
        self.chunk, self.cameras, self.states = chunk, cameras, []

    def act(self, states, instructions, generator, frames=None, embodiment=""):
        self.states.append(states[0])
        n = len(self.states)
        plan = np.array([[n / 100, i / 100] for i in range(self.chunk)], np.float32)
        return plan[None]


class Slow:
    """A planner whose answers take ``ticks`` of the loop's time."""

    def __init__(self, keeper, ticks):
        self.keeper, self.takes_ns = keeper, round(ticks * 1e9 / HZ)
        self.due, self.plan, self.closed = 0, None, False

    def ask(self, request):
        shown = [request.frames] if request.policy.cameras else None
        (self.plan,) = request.policy.act(request.state[None], [request.instruction], None, shown)
        self.due = self.keeper.monotonic_ns() + self.takes_ns

    def answer(self, wait_ns=0):
        left = self.due - self.keeper.monotonic_ns()
        if self.plan is None or left > wait_ns:
            self.keeper.sleep_ns(wait_ns)
            return None
        self.keeper.sleep_ns(max(0, left))
        plan, self.plan = self.plan, None
        return plan

    def close(self):
        self.closed = True


class Says:
    """A referee that calls it a success after so many ticks."""

    def __init__(self, at):
        self.at, self.asked = at, 0

    def judge(self, observed):
        self.asked += 1
        return Outcome.SUCCESS if self.asked >= self.at else None


def driven(
    folder, arm, *, policy=None, person=None, referee=None, takes=0.0, limits=LIMITS, said=None, **rules
):
    """One episode; returns the take. ``takes``: ticks a plan takes."""
    rig = Rig(
        arm,
        parse_embodiment(FILE + limits),
        referee=referee,
        person=(lambda: person) if person else None,
        buttons=(person,) if person else (),
        operator="anna",
    )
    spec = RobotSpec("r1", "lab", "two-joints", "tests")
    control = Control(
        rig,
        spec,
        ControlRules(**{"watchdog_ms": np.inf, **rules}),
        keeper=arm.keeper,
        planner=lambda seed: Slow(arm.keeper, takes),
        say=(said if said is not None else deque()).append,
    )
    source = Source.ROLLOUT if policy else Source.DEMONSTRATION
    return control.run(Job(TASK, "reach out", 1, source), policy, folder)
