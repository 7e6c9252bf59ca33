"""An arm that answers at once, with cameras of 640 by 480, for benchmarks of the robot's side.

It counts what its cameras make, what it hands on and what it is told, so that a log can be held against it.
"""

import mmap
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]

from lwd_core.fleet.robot import Action, Observed, Picture, Press
from lwd_core.fleet.task import Task

STATE, DIMS = 39, 4
CAMERAS, CAMERA_HZ, HEIGHT, WIDTH = ("left", "right", "wrist"), 30, 480, 640
PICTURES = 4  # different ones, in turn
QUALITY = 85


def arm_file(hz: float, cameras: Sequence[str]) -> str:
    """Its embodiment file: position, velocity and step are all enforced."""
    state = ", ".join(f"{{name: s{i}}}" for i in range(STATE))
    action = ", ".join(f"{{name: a{i}, low: -1, high: 1}}" for i in range(DIMS))
    shown = ", ".join(f"{{name: {name}, topic: /camera/{name}}}" for name in cameras)
    limits = ", ".join(f"{{dim: a{i}, velocity: 5, step: 0.5, state: s{i}}}" for i in range(DIMS))
    return f"""\
name: bench
control_hz: {hz:g}
match: {{embodiment: bench}}
time: {{clock: log, ticks: /state}}
state: [{{topic: /state, field: values, dims: [{state}]}}]
action: [{{topic: /action/executed, field: values, dims: [{action}]}}]
cameras: [{shown}]
actor: {{topic: /actor, field: actor, human: [human], operator: operator, policy: policy_id}}
events: {{topic: /event, kind: kind, attributes: attributes}}
episodes: {{boundary: events}}
limits: {{version: 1, dims: [{limits}]}}
"""


def pixels(seed: int) -> list[np.ndarray]:
    """What a camera sees in turn, each (480, 640, 3) uint8: shades and grain, as JPEG about 40 KB."""
    rng = np.random.default_rng(seed)
    across = np.linspace(0, 255, WIDTH, dtype=np.float32)[None, :, None].repeat(3, 2)
    grain = 3.5 * rng.standard_normal((PICTURES, HEIGHT, WIDTH, 1), np.float32)
    return [np.clip(np.roll(across, 40 * i, 1) + grain[i], 0, 255).astype(np.uint8) for i in range(PICTURES)]


def jpeg(picture: np.ndarray) -> bytes:
    """As a camera's own chip would make it."""
    return simplejpeg.encode_jpeg(picture, quality=QUALITY)


class Camera(threading.Thread):
    """Makes a picture 30 times a second; ``newest`` is its number and itself.

    ``encodes``: it has pixels to make JPEGs of, else JPEGs that were made before.
    """

    def __init__(self, seed: int, encodes: bool) -> None:
        super().__init__(name=f"camera-{seed}", daemon=True)
        self._raw = pixels(seed)
        self._jpegs = [jpeg(picture) for picture in self._raw]
        self.bytes = sum(map(len, self._jpegs)) / PICTURES
        self._encodes = encodes
        if not encodes:
            self._raw.clear()
        self._over = threading.Event()
        self._shoot(0)

    def _shoot(self, number: int) -> None:
        shown = jpeg(self._raw[number % PICTURES]) if self._encodes else self._jpegs[number % PICTURES]
        self.newest = number, Picture(shown, time.time_ns())

    def run(self) -> None:
        """Until it is closed, by absolute times."""
        begun, number = time.monotonic(), 0
        while not self._over.wait(max(0.0, begun + (number + 1) / CAMERA_HZ - time.monotonic())):
            number += 1
            self._shoot(number)

    def close(self) -> None:
        """No picture after this."""
        self._over.set()


class Arm:
    """Where it is told to go, it is. ``acted``: a file in which the number of actions stands, whatever
    becomes of this process."""

    tasks = {"move": Task("move", 10_000_000, ("move",))}  # noqa: RUF012

    def __init__(self, hz: float, cameras: int = 3, encodes: bool = False, acted: str = "") -> None:
        self.control_hz = float(hz)
        self.cameras = {name: Camera(i, encodes) for i, name in enumerate(CAMERAS[:cameras])}
        self._state = np.zeros(STATE)
        self._handed: dict[str, list[int]] = {name: [] for name in self.cameras}
        self.observed = self.acts = 0
        self._acted: mmap.mmap | None = None
        if acted:
            Path(acted).write_bytes(bytes(8))
            with open(acted, "r+b") as file:
                self._acted = mmap.mmap(file.fileno(), 8)

    def connect(self) -> None:
        """The cameras run."""
        for camera in self.cameras.values():
            camera.start()

    def reset(self, seed: int) -> np.ndarray:
        """Nothing to set up."""
        return self._state

    def observe(self) -> Observed:
        """State and newest pictures."""
        self.observed += 1
        shown: dict[str, Picture] = {}
        for name, camera in self.cameras.items():
            number, shown[name] = camera.newest
            if not self._handed[name] or self._handed[name][-1] != number:
                self._handed[name].append(number)
        return Observed(self._state.copy(), time.time_ns(), shown)

    def act(self, action: Action) -> None:
        """Go there."""
        self._state[:DIMS] = action
        self.acts += 1
        if self._acted is not None:
            self._acted[:] = self.acts.to_bytes(8, "little")

    def stop(self) -> None:
        """It stands."""

    def close(self) -> None:
        """No more pictures."""
        for camera in self.cameras.values():
            camera.close()

    @property
    def handed(self) -> int:
        """Pictures that the control loop was shown."""
        return sum(map(len, self._handed.values()))

    @property
    def unseen(self) -> int:
        """Pictures that were newest only between two ticks: the loop was late by more than a picture."""
        return sum(n[-1] - n[0] + 1 - len(n) for n in self._handed.values() if n)


class Hand:
    """A person whose hand sways; ends the episode as a success after ``ticks`` of driving (0: never)."""

    def __init__(self, ticks: int = 0) -> None:
        self._ticks, self._driven = ticks, 0

    def connect(self) -> None:
        """Nothing to open."""

    def pressed(self) -> Sequence[Press]:
        """The end, when it is time."""
        return [Press("success")] if self._ticks and self._driven == self._ticks else []

    def take_over(self, state: np.ndarray) -> None:
        """It has them."""

    def drive(self, state: np.ndarray) -> np.ndarray:
        """To and fro."""
        self._driven += 1
        return 0.1 * np.sin(self._driven / 50 + np.arange(DIMS))

    def close(self) -> None:
        """Nothing to free."""
