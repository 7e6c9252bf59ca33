"""A point in the plane, a goal beside it, and a person who steers the one to the other."""

from importlib import resources

import numpy as np

from lwd_core.extend import Task, Workcell

TASKS = {"reach": Task("reach", limit=60, instructions=("go to the goal",), usual=20)}


class PointArm:
    """Robot, scene and person in one. The state is where the point and its goal are, (4,), metres."""

    control_hz = 20.0

    def reset(self, seed):
        self.point, self.goal = np.random.default_rng(seed).uniform(-1, 1, (2, 2))
        return self.state()

    def state(self):
        return np.concatenate([self.point, self.goal])

    def step(self, action):
        self.point = self.point + 0.1 * np.clip(action, -1, 1)
        return self.state(), bool(np.abs(self.point - self.goal).max() < 0.05)

    def photograph(self, size=0):
        return {}

    def take_over(self, state):
        """Nothing to prepare."""

    def drive(self, state):
        return np.clip((state[2:] - state[:2]) / 0.1, -1, 1)


class PointArms:
    """What the fleet finds under the name ``point``."""

    embodiment = resources.files("point_arm") / "point-arm.yaml"
    tasks = TASKS

    def workcell(self, task):
        arm = PointArm()
        return Workcell(robot=arm, scene=arm, person=lambda: arm)

    def close(self):
        """Nothing to free."""
