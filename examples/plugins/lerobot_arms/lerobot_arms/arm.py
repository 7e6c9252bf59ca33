"""Any robot that LeRobot drives, as a robot in real time."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import simplejpeg

from lerobot_arms import devices
from lerobot_arms.draft import Draft, draft
from lerobot_arms.reading import Newest
from lwd_core import UserError
from lwd_core.extend import Observed, Picture

_BUS_S = 0.3  # how long a stop waits for a driver that reads


class LeRobotArm:
    """A LeRobot ``Robot``; implements ``Robot``.

    ``type`` and ``config`` are LeRobot's configuration (``type=so101_follower port=/dev/ttyACM0 id=left``).
    It is read twice a tick of ``hz`` by a thread of its own. Without an embodiment file it brings a draft of
    one, called ``name``. ``calibrate``: let LeRobot ask for a calibration that lacks. ``stale_s``: without a
    reading for so long `observe` raises (``--stale-ms`` stops before). State and action are LeRobot's numbers
    (S,), (D,), in the order of the embodiment file.
    """

    def __init__(
        self,
        type: str,
        hz: float = 30.0,
        name: str = "",
        calibrate: bool = False,
        quality: int = 90,
        stale_s: float = 1.0,
        **config: Any,
    ) -> None:
        self.robot = devices.made("robots", type, config)
        self.control_hz = float(hz)
        name = name or type.replace("_", "-")
        self.embodiment = Draft(f"{name}.yaml", draft(self.robot, name, self.control_hz))
        self._calibrate, self._quality, self._stale_s = calibrate, quality, stale_s
        self._state = devices.numbers(self.robot.observation_features)
        self._action = devices.numbers(self.robot.action_features)
        self._cameras = list(devices.cameras(self.robot.observation_features))
        self._bus = threading.Lock()  # LeRobot's buses are no two threads'
        self._seen: dict[str, tuple[Any, Picture]] = {}
        self._sent: dict[str, float] = {}
        self._held: dict[str, float] | None = None
        self._reader: Newest[tuple[np.ndarray, Mapping[str, Picture]]] | None = None

    def fit(self, embodiment: Any) -> None:
        """Speak in the order of this embodiment file, at its rate."""
        who = f"LeRobot's {self.robot.name}"
        self._state = devices.by_name([d.name for d in embodiment.state_dims], self._state, f"{who} (state)")
        wanted = devices.by_name([d.name for d in embodiment.action_dims], self._action, f"{who} (action)")
        if left := [key for key in self._action if key not in wanted]:
            raise UserError(f"{who} is moved by {', '.join(left)} too; name it in the file's action")
        self._action = wanted
        self.control_hz = embodiment.control_hz

    def connect(self) -> None:
        devices.connect(self.robot, self._calibrate)
        who = f"LeRobot's {self.robot.name}"
        self._reader = Newest(self._read, 2 * self.control_hz, who, self._stale_s)
        self._reader.start()

    def observe(self) -> Observed:
        if self._reader is None:
            raise UserError(f"LeRobot's {self.robot.name}: not connected")
        (state, pictures), t_ns = self._reader.get()
        return Observed(state, t_ns, pictures)

    def act(self, action: np.ndarray) -> np.ndarray:
        """Returns what LeRobot says it sent: its ``max_relative_target`` may clip."""
        command = {key: float(value) for key, value in zip(self._action, action, strict=True)}
        with self._bus:
            self._held = None
            self._sent = {**command, **(self.robot.send_action(command) or {})}
            return np.array([self._sent[key] for key in self._action])

    def stop(self) -> None:
        """Hold the present position: motors keep their torque, velocities are 0."""
        if self._reader is None:
            return
        if not self._bus.acquire(timeout=_BUS_S):
            raise TimeoutError(f"{self.robot.name}: its driver hangs, so it can't be told to hold")
        try:
            self._held = self._held or self._present()  # an arm that sags is not followed down
            self.robot.send_action(self._held)
        finally:
            self._bus.release()

    def close(self) -> None:
        """Disconnect; whether motors keep their torque then is LeRobot's ``disable_torque_on_disconnect``."""
        if self._reader is not None:
            self._reader.close()
        if self.robot.is_connected:
            self.robot.disconnect()

    def _read(self, t_ns: int) -> tuple[np.ndarray, Mapping[str, Picture]]:
        with self._bus:
            said = self.robot.get_observation()
        for camera in self._cameras:
            pixels = said[camera]
            # the same array is the same picture: LeRobot's cameras hand out their newest
            if camera not in self._seen or self._seen[camera][0] is not pixels:
                self._seen[camera] = (pixels, Picture(self._jpeg(camera, pixels), t_ns))
        state = np.array([said[key] for key in self._state], np.float64)
        return state, {camera: picture for camera, (_, picture) in self._seen.items()}

    def _jpeg(self, camera: str, pixels: Any) -> bytes:
        if pixels.dtype != np.uint8 or pixels.ndim != 3:
            raise ValueError(f"camera {camera} gives {pixels.dtype} {pixels.shape}, not uint8 (H, W, 3)")
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), self._quality)

    def _present(self) -> dict[str, float]:
        said = self.robot.get_observation()
        rest = {key: 0.0 for key in self._action if key.endswith(".vel")}
        there = {key: float(said[key]) for key in self._action if key in said}
        return {**self._sent, **there, **rest}
