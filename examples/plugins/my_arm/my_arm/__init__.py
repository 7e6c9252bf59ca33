"""A robot of your own in real time. Replace `Motors` and `Webcam` by what talks to yours."""

import threading
import time
from pathlib import Path

import numpy as np
import simplejpeg

from lwd_core.extend import Observed, Picture, Press, Task

TASKS = {"reach": Task("reach", limit=60, instructions=("reach up", "stretch the arm upwards"))}


class Motors:
    """Two joints that go where they are told, at most 2 rad/s: what a serial bus would be."""

    def __init__(self, port):
        self.port, self.angles, self._goal = port, np.zeros(2), np.zeros(2)
        self._asked = time.monotonic()

    def read(self):
        now = time.monotonic()
        most, self._asked = 2.0 * (now - self._asked), now
        self.angles = self.angles + np.clip(self._goal - self.angles, -most, most)
        return self.angles.copy()

    def write(self, goal):
        self.read()
        self._goal = np.asarray(goal, float)

    def hold(self):
        self.write(self.read())


class Webcam(threading.Thread):
    """Takes a picture 10 times a second, in a thread of its own; `newest` waits for none."""

    def __init__(self, motors):
        super().__init__(daemon=True)
        self._motors, self._ends = motors, threading.Event()
        self.newest = None

    def run(self):
        while not self._ends.wait(0.1):
            pixels = np.full((48, 48, 3), 40, np.uint8)
            row, column = (24 + 8 * np.clip(self._motors.angles, -2, 2)).astype(int)
            pixels[row : row + 6, column : column + 6] = (220, 40, 40)
            self.newest = Picture(simplejpeg.encode_jpeg(pixels), time.time_ns())

    def close(self):
        self._ends.set()


class MyArm:
    """The robot. The state is where its joints are, the action where they are to go, (2,) each, rad."""

    control_hz = 20.0
    embodiment = Path(__file__).with_name("my-arm.yaml")
    tasks = TASKS

    def __init__(self, port="/dev/ttyACM0"):
        self._motors = Motors(port)
        self._camera = Webcam(self._motors)

    def connect(self):
        self._camera.start()

    def observe(self):
        newest = self._camera.newest
        return Observed(self._motors.read(), time.time_ns(), {"front": newest} if newest else {})

    def act(self, action):
        self._motors.write(action)

    def stop(self):
        self._motors.hold()

    def close(self):
        self._motors.hold()
        self._camera.close()

    def judge(self, observed):
        """Optional: a success detector. Without one a person says how it went."""
        return "success" if np.abs(observed.state - [0.8, -0.4]).max() < 0.02 else None


class MyLeader:
    """What a person moves the robot by, and its buttons: here a script that reaches up."""

    def connect(self):
        """Open the device."""
        self._presses = [Press("ready")]

    def pressed(self):
        found, self._presses = self._presses, [Press("ready")]
        return found

    def take_over(self, state):
        """The person takes the controls from a policy, at this state."""

    def drive(self, state):
        return np.array([0.8, -0.4])

    def close(self):
        """Let the device go."""
