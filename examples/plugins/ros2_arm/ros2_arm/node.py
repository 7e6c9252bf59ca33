"""The robot and the controls that listen and speak by ROS 2."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lwd_core import UserError
from lwd_core.extend import Observed, Picture, Press, load_embodiment
from ros2_arm import messages

_FIRST_S = 5.0  # for how long a topic may stay silent at the beginning
_STALE_S = 0.25  # the age at which a person's command is none any more


class Ros:
    """One node with its thread: `listen` to topics, `speak` on one. Raises `UserError` without ROS 2."""

    def __init__(self, name: str) -> None:
        try:
            import rclpy
            from rclpy.executors import SingleThreadedExecutor
            from rosidl_runtime_py import set_message_fields
            from rosidl_runtime_py.utilities import get_message
        except ImportError as lack:
            raise UserError(
                f"ROS 2 can't be imported ({lack}); source its setup.bash (/opt/ros/jazzy/setup.bash) first"
            ) from lack
        self._set, self._message = set_message_fields, get_message
        self._context = rclpy.Context()
        self._context.init()
        self._node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        threading.Thread(target=self._executor.spin, daemon=True).start()

    def listen(self, topic: str, hear: Callable[[Any], None]) -> None:
        """``hear`` each message of a topic, whose type is that of who publishes it."""
        from rclpy.qos import qos_profile_sensor_data

        end = time.monotonic() + _FIRST_S
        while not (kinds := dict(self._node.get_topic_names_and_types()).get(topic)):
            if time.monotonic() > end:
                raise UserError(f"{topic}: nobody publishes it; look at `ros2 topic list`")
            time.sleep(0.05)
        self._node.create_subscription(self._message(kinds[0]), topic, hear, qos_profile_sensor_data)

    def speak(self, topic: str, kind: str) -> Callable[[dict[str, Any]], None]:
        """Says the fields of a message on a topic."""
        make = self._message(kind)
        publisher = self._node.create_publisher(make, topic, 1)

        def say(fields: dict[str, Any]) -> None:
            message = make()
            self._set(message, fields)
            publisher.publish(message)

        return say

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.shutdown()


class Heard:
    """The newest number of each dim and when it was measured, of messages as they come."""

    def __init__(self, features: Sequence[Any]) -> None:
        self.features = features
        self._dims = [dim.name for feature in features for dim in feature.dims]
        self._values: dict[str, tuple[float, int]] = {}
        self._guard = threading.Lock()

    def hear(self, topic: str, message: Any) -> None:
        """A message of this topic: every feature that names it takes what is its own."""
        stamp = messages.stamp_ns(message, time.time_ns())
        for feature in self.features:
            if feature.topic == topic:
                found = messages.numbers(message, feature)
                with self._guard:
                    self._values |= {name: (value, stamp) for name, value in found.items()}

    def newest(self) -> tuple[np.ndarray, int] | None:
        """The vector, and the stamp of its oldest number; None until each has come."""
        with self._guard:
            if len(self._values) < len(self._dims):
                return None
            found = [self._values[name] for name in self._dims]
        return np.array([value for value, _ in found]), min(stamp for _, stamp in found)


class Ros2Arm:
    """A robot whose topics an embodiment file names; implements ``Robot``.

    ``file`` is that file, as ROS bags are read by. State and cameras are heard on its topics, and commands
    said on its action's as a message of ``command``. With ``listen`` it says nothing: another stack drives,
    and `Ros2Commands` tells what it does. ``embodiment`` is of what is recorded, called ``NAME-live``.
    """

    def __init__(
        self, file: str, command: str = "std_msgs/msg/Float64MultiArray", listen: bool = False
    ) -> None:
        self.ros = load_embodiment(file)
        if len(self.ros.action) != 1:
            raise UserError(f"{file}: a robot that is driven has one feature of the action, on one topic")
        self.control_hz = self.ros.control_hz
        self.embodiment = _Text(messages.as_recorded(self.ros))
        self._kind, self._listens = command, listen
        self._state = Heard(self.ros.state)
        self._pictures: dict[str, Picture] = {}
        self._say: Callable[[dict[str, Any]], None] | None = None
        self._node: Ros | None = None
        self._last: np.ndarray | None = None
        self._held: np.ndarray | None = None
        messages.command(command, self.ros.action[0], np.zeros(len(self.ros.action_dims)), 0.0)

    def connect(self) -> None:
        self._node = node = Ros("lwd_robot")
        for topic in sorted({feature.topic for feature in self.ros.state}):
            node.listen(topic, lambda message, topic=topic: self._state.hear(topic, message))
        for camera in self.ros.cameras:
            node.listen(camera.topic, lambda message, name=camera.name: self.see(name, message))
        if not self._listens:
            self._say = node.speak(self.ros.action[0].topic, self._kind)
        end = time.monotonic() + _FIRST_S
        while self._state.newest() is None:
            if time.monotonic() > end:
                raise UserError(f"{self.ros.name}: not every dim of the state came within {_FIRST_S:g} s")
            time.sleep(0.02)

    def see(self, camera: str, message: Any) -> None:
        """A picture of this camera."""
        self._pictures[camera] = messages.picture(message, time.time_ns())

    def observe(self) -> Observed:
        newest = self._state.newest()
        if newest is None:
            raise UserError(f"{self.ros.name}: its state was not heard yet")
        return Observed(*newest, dict(self._pictures))

    def act(self, action: np.ndarray) -> None:
        self._last, self._held = np.array(action, float), None
        self._command(self._last)

    def stop(self) -> None:
        """Ask for what is there now: present positions; 0 for a dim that is a rate; else the last command."""
        if (newest := self._state.newest()) is None:
            return
        if self._held is None:
            self._held = self._present(newest[0])
        self._command(self._held)

    def close(self) -> None:
        if self._node is not None:
            self._node.close()

    def _present(self, state: np.ndarray) -> np.ndarray | None:
        there = dict(zip([dim.name for dim in self.ros.state_dims], state, strict=True))
        limits = self.ros.limits.dims if self.ros.limits else ()
        measured = {limit.dim: limit.state for limit in limits if limit.state}
        held: list[float] = []
        for i, dim in enumerate(self.ros.action_dims):
            if (name := measured.get(dim.name, dim.name)) in there:
                held.append(there[name])
            elif dim.unit.endswith("/s"):
                held.append(0.0)
            elif self._last is not None:
                held.append(self._last[i])
            else:
                return None  # nothing was asked yet, and nothing says where it is
        return np.array(held)

    def _command(self, action: np.ndarray | None) -> None:
        if self._say is not None and action is not None:
            # a trajectory's point is due at the next tick
            self._say(messages.command(self._kind, self.ros.action[0], action, 1 / self.control_hz))


class Ros2Commands:
    """Commands that a person, or another stack, says on a topic; implements ``Controls``.

    They are laid out as the action of ``file``; ``topic`` is where a teleoperation device says them, by
    default the action's own.
    """

    def __init__(self, file: str, topic: str = "") -> None:
        self.ros = load_embodiment(file)
        self._topic = topic
        self._heard = Heard(self.ros.action)
        self._node: Ros | None = None

    def connect(self) -> None:
        self._node = node = Ros("lwd_controls")
        for feature in self.ros.action:
            node.listen(
                self._topic or feature.topic,
                lambda message, topic=feature.topic: self._heard.hear(topic, message),
            )

    def pressed(self) -> list[Press]:
        return []

    def take_over(self, state: np.ndarray) -> None:
        """Commands count from here on."""

    def drive(self, state: np.ndarray) -> np.ndarray:
        newest = self._heard.newest()
        if newest is None or time.time_ns() - newest[1] > _STALE_S * 1e9:
            raise UserError(
                f"{self._topic or self.ros.action[0].topic}: no command for {_STALE_S * 1e3:.0f} ms"
            )
        return newest[0]

    def close(self) -> None:
        if self._node is not None:
            self._node.close()


class _Text:
    """A file that is on no disk."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self) -> str:
        return self._text

    def read_bytes(self) -> bytes:
        return self._text.encode()
