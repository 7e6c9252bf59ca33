"""A robot of a few lines with two cameras, whose goal is in the picture and not in the state."""

from importlib import resources

import numpy as np
import simplejpeg

from lwd_core.extend import Task, Workcell

TASKS = {"reach": Task("reach", limit=40, instructions=("go to the goal",), usual=20)}
OWN = 24  # pixels a side where nobody asks for another size


class SeeingArm:
    """Robot, scene and person in one. The state is where the point is, (2,); the goal is seen.

    ``broken``: cameras that show nothing; ``torn``: those that send half a picture.
    """

    control_hz = 20.0

    def __init__(self):
        self.broken, self.torn = set(), set()

    def reset(self, seed):
        self.point, self.goal = np.random.default_rng(seed).uniform(-1, 1, (2, 2))
        return self.point.copy()

    def step(self, action):
        self.point = self.point + 0.1 * np.clip(action, -1, 1)
        return self.point.copy(), bool(np.abs(self.point - self.goal).max() < 0.05)

    def photograph(self, size=0):
        """The goal as a colour; the camera at the side sees the point as well."""
        size = size or OWN
        shown = {"top": (*self.goal, 0), "side": (*self.goal, self.point[0])}
        frames = {}
        for camera in shown.keys() - self.broken:
            colour = np.uint8(127 + 60 * np.clip(shown[camera], -2, 2))
            picture = np.ascontiguousarray(np.broadcast_to(colour, (size, size, 3)))
            frames[camera] = simplejpeg.encode_jpeg(picture, quality=95)
        return {camera: f[: len(f) // 8 if camera in self.torn else None] for camera, f in frames.items()}

    def take_over(self, state):
        """Nothing to prepare."""

    def drive(self, state):
        return np.clip((self.goal - state) / 0.1, -1, 1)


class SeeingArms:
    """What the fleet finds under ``tests.lwd_core.fleet.seeing:SeeingArms``."""

    embodiment = resources.files("tests.lwd_core.fleet") / "seeing.yaml"
    tasks = TASKS

    def workcell(self, task):
        arm = SeeingArm()
        return Workcell(robot=arm, scene=arm, person=lambda: arm)

    def close(self):
        """Nothing to free."""


class Looker:
    """Goes where the picture says; keeps all it was shown."""

    policy_id = "looker"

    def __init__(self, cameras=("top",), chunk=5, sizes=()):
        self.cameras, self.chunk, self.shown = cameras, chunk, []
        self.sizes = dict.fromkeys(cameras, sizes)

    def act(self, states, instructions, generator, frames=None, embodiment=""):
        assert len(frames) == len(states)
        self.shown += frames
        goals = np.array([seen_goal(shown[self.cameras[0]]) for shown in frames])
        plans = []
        for _ in range(self.chunk):
            step = np.clip((goals - states) / 0.1, -1, 1)
            states = states + 0.1 * step
            plans.append(step)
        return np.stack(plans, axis=1).astype(np.float32)


def seen_goal(jpeg):
    """Where a picture shows the goal, (2,)."""
    return (simplejpeg.decode_jpeg(jpeg)[4, 4, :2].astype(float) - 127) / 60
