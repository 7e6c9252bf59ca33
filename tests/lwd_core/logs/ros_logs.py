"""ROS 2 messages and bags, made for tests."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

ROS = get_typestore(Stores.ROS2_JAZZY)
T = ROS.types
NONE = np.zeros(0)


def header(t: int) -> Any:
    time = T["builtin_interfaces/msg/Time"](sec=t // 10**9, nanosec=t % 10**9)
    return T["std_msgs/msg/Header"](stamp=time, frame_id="")


def joints(t: int, names: Sequence[str], values: Sequence[float]) -> Any:
    position = np.array(values, dtype=np.float64)
    return T["sensor_msgs/msg/JointState"](
        header=header(t),
        name=list(names),
        position=position,
        velocity=np.full(len(names), np.nan),
        effort=NONE,
    )


def array(values: Sequence[float]) -> Any:
    layout = T["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    return T["std_msgs/msg/Float64MultiArray"](layout=layout, data=np.array(values, dtype=np.float64))


def twist(v: float, w: float) -> Any:
    V = T["geometry_msgs/msg/Vector3"]
    return T["geometry_msgs/msg/Twist"](linear=V(x=v, y=0.0, z=0.0), angular=V(x=0.0, y=0.0, z=w))


def trajectory(t: int, names: Sequence[str], values: Sequence[float]) -> Any:
    when = T["builtin_interfaces/msg/Duration"](sec=0, nanosec=1)
    point = T["trajectory_msgs/msg/JointTrajectoryPoint"](
        positions=np.array(values, dtype=np.float64),
        velocities=NONE,
        accelerations=NONE,
        effort=NONE,
        time_from_start=when,
    )
    kind = T["trajectory_msgs/msg/JointTrajectory"]
    return kind(header=header(t), joint_names=list(names), points=[point])


def picture(t: int, data: bytes, kind: str = "jpeg") -> Any:
    pixels = np.frombuffer(data, dtype=np.uint8)
    return T["sensor_msgs/msg/CompressedImage"](header=header(t), format=kind, data=pixels)


def word(text: str) -> Any:
    return T["std_msgs/msg/String"](data=text)


def flag(up: bool) -> Any:
    return T["std_msgs/msg/Bool"](data=up)


def number(value: float) -> Any:
    return T["std_msgs/msg/Float64"](data=value)


def bag(
    path: Path, messages: Iterable[tuple[str, int, Any]], storage: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """A rosbag2 folder of (topic, log time, message), in the order given."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for topic, t, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS)
            writer.write(connections[topic], t, ROS.serialize_cdr(message, kind))
    return path
