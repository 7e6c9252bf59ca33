"""LeRobot's teleoperators, as controls: a leader arm to drive by, a gamepad for its buttons."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from lerobot_arms import devices
from lerobot_arms.reading import Newest
from lwd_core import UserError
from lwd_core.extend import Press

_HZ = 60.0
#: LeRobot's events that end an episode; the first that is new counts. Ended and no success is a failure.
_ENDS = {
    "rerecord_episode": "discard",
    "success": "success",
    "failure": "failure",
    "terminate_episode": "failure",
}


class LeRobotButtons:
    """The events of a LeRobot ``Teleoperator``; implements ``Buttons``.

    While ``is_intervention``, the person has the controls; its beginning says *ready* too, for which LeRobot
    has no event. ``type`` and ``config`` are LeRobot's configuration. The device is read by a thread of its
    own; without a reading for ``stale_s`` the robot is stopped.
    """

    def __init__(
        self, type: str = "gamepad", calibrate: bool = False, stale_s: float = 0.3, **config: Any
    ) -> None:
        self.teleop = devices.made("teleoperators", type, config)
        self._calibrate, self._stale_s = calibrate, stale_s
        self._has_events = hasattr(self.teleop, "get_teleop_events")
        if not self._has_events and not isinstance(self, LeRobotLeader):
            raise UserError(f"LeRobot's {type} has no get_teleop_events: it can't be used for its buttons")
        self._before: Mapping[str, bool] = {}
        self._presses: deque[Press] = deque()
        self._guard = threading.Lock()
        self._reader: Newest[Any] | None = None

    def connect(self) -> None:
        devices.connect(self.teleop, self._calibrate)
        self._reader = Newest(self._read, _HZ, f"LeRobot's {self.teleop.name}", self._stale_s)
        self._reader.start()

    def pressed(self) -> list[Press]:
        self._newest()  # a lost button is a reason to stop
        with self._guard:
            found = [Press("take_over")] if self._before.get("is_intervention") else []
            found += self._presses
            self._presses.clear()
        return found

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self.teleop.is_connected:
            self.teleop.disconnect()

    def _newest(self) -> Any:
        if self._reader is None:
            raise UserError(f"LeRobot's {self.teleop.name}: not connected")
        return self._reader.get()[0]

    def _read(self, t_ns: int) -> Any:
        if self._has_events:
            self._hear(self.teleop.get_teleop_events())
        return None

    def _hear(self, events: Mapping[Any, Any]) -> None:
        now = {str(getattr(event, "value", event)): bool(on) for event, on in events.items()}
        with self._guard:
            new = {event for event, on in now.items() if on and not self._before.get(event)}
            if "is_intervention" in new:
                self._presses.append(Press("ready"))
            elif self._before.get("is_intervention") and not now.get("is_intervention"):
                self._presses.append(Press("give_back"))
            if end := next((button for event, button in _ENDS.items() if event in new), None):
                self._presses.append(Press(end))
            self._before = now


class LeRobotLeader(LeRobotButtons):
    """A LeRobot ``Teleoperator`` to drive by, with its events where it has some; implements ``Controls``.

    It must give the numbers the embodiment file's action names, as a leader arm gives its follower's.
    """

    def __init__(self, type: str, calibrate: bool = False, stale_s: float = 0.3, **config: Any) -> None:
        super().__init__(type, calibrate, stale_s, **config)
        self._action = devices.numbers(self.teleop.action_features)

    def fit(self, embodiment: Any) -> None:
        """Drive in the order of this embodiment file."""
        wanted = [dim.name for dim in embodiment.action_dims]
        self._action = devices.by_name(wanted, self._action, f"LeRobot's {self.teleop.name}")

    def take_over(self, state: np.ndarray) -> None:
        """The embodiment file's limits bring the robot to where the leader is."""

    def drive(self, state: np.ndarray) -> np.ndarray:
        return self._newest()

    def _read(self, t_ns: int) -> np.ndarray:
        super()._read(t_ns)
        said = self.teleop.get_action()
        return np.array([said[key] for key in self._action], np.float64)
