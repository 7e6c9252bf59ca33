"""A robot that speaks ROS 2, without ROS: its messages' mapping, what is held, what is recorded."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Message
from typing import Any

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.logs.embodiment import parse_embodiment
from tests.packages import PLUGINS

FILE = """
name: ur
control_hz: 50
state:
  - topic: /joint_states
    field: position
    names_field: name
    dims: [{name: a, key: joint_a, unit: rad, low: -3, high: 3}, {name: b, key: joint_b, unit: rad}]
  - {topic: /gripper, field: data, start: 1, dims: [{name: grip}]}
  - {topic: /pose, dims: [{name: x, field: pose.position.x, unit: m}]}
action:
  - topic: /command
    field: points[0].positions
    names_field: joint_names
    dims: [{name: a_to, key: joint_a}, {name: b, key: joint_b}, {name: spin, unit: rad/s}]
cameras: [{name: top, topic: /top/compressed, staleness_ms: 100}]
limits: {version: 1, dims: [{dim: a_to, velocity: 1, state: a}]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(PLUGINS / "ros2_arm"))
    (tmp_path / "ur.yaml").write_text(FILE)
    yield tmp_path / "ur.yaml"
    for name in [n for n in sys.modules if n.split(".")[0] == "ros2_arm"]:
        del sys.modules[name]


def header(ns: int) -> Message:
    return Message(stamp=Message(sec=ns // 10**9, nanosec=ns % 10**9))


def joints(ns: int, **positions: float) -> Message:
    return Message(header=header(ns), name=list(positions), position=list(positions.values()))


def test_messages_become_the_dims_that_the_file_names(file: Path) -> None:
    from ros2_arm.node import Heard

    ros = parse_embodiment(FILE)
    heard = Heard(ros.state)
    heard.hear("/joint_states", joints(2_000, joint_b=0.2, other=9.0, joint_a=0.1))
    heard.hear("/gripper", Message(data=[7.0, 0.5], header=header(3_000)))
    assert heard.newest() is None
    heard.hear("/pose", Message(pose=Message(position=Message(x=0.3)), header=header(1_000)))
    state, stamp = heard.newest() or (np.empty(0), 0)
    assert (state.tolist(), stamp) == ([0.1, 0.2, 0.5, 0.3], 1_000)
    heard.hear("/joint_states", joints(4_000, joint_a=1.1))  # a driver of one joint
    assert (heard.newest() or ([],))[0][:2].tolist() == [1.1, 0.2]
    with pytest.raises(UserError, match="/gripper: 1 numbers, the file names 2"):
        heard.hear("/gripper", Message(data=[7.0]))


def test_an_action_becomes_the_message_that_is_asked_for_and_back(file: Path) -> None:
    from ros2_arm import messages

    (feature,) = parse_embodiment(FILE).action
    names, action = ["joint_a", "joint_b", "spin"], [0.1, 0.2, 0.3]
    assert messages.command("std_msgs/msg/Float64MultiArray", feature, action, 0.02) == {"data": action}
    state = messages.command("sensor_msgs/msg/JointState", feature, action, 0.02)
    assert state == {"name": names, "position": action}
    said = messages.command("trajectory_msgs/msg/JointTrajectory", feature, np.array(action), 1.02)
    assert said["points"][0]["time_from_start"] == {"sec": 1, "nanosec": 20_000_000}
    back = Message(joint_names=said["joint_names"], points=[Message(**said["points"][0])])
    assert messages.numbers(back, feature) == {"a_to": 0.1, "b": 0.2, "spin": 0.3}
    with pytest.raises(UserError, match="geometry_msgs/msg/Twist: not known; use"):
        messages.command("geometry_msgs/msg/Twist", feature, action, 0.02)


def test_pictures_are_jpeg_with_the_stamp_of_their_header(file: Path) -> None:
    from ros2_arm import messages

    seen = messages.picture(Message(data=bytearray(b"\xff\xd8\xff"), format="jpeg", header=header(5)), 9)
    assert (seen.jpeg, seen.t_ns) == (b"\xff\xd8\xff", 5)
    assert messages.stamp_ns(Message(data=[]), 9) == messages.stamp_ns(Message(header=header(0)), 9) == 9
    with pytest.raises(UserError, match="a picture is png; have it published as jpeg"):
        messages.picture(Message(data=b"\x89PNG", format="png"), 9)


def test_it_acts_holds_and_says_what_is_recorded(file: Path) -> None:
    from ros2_arm import Ros2Arm

    arm, said = Ros2Arm(str(file)), list[Any]()
    arm._say = said.append
    arm.stop()
    assert said == []  # nothing is known, so nothing is asked for
    arm._state.hear("/joint_states", joints(1, joint_a=0.1, joint_b=0.2))
    arm._state.hear("/gripper", Message(data=[0.0, 0.5], header=header(2)))
    arm._state.hear("/pose", Message(pose=Message(position=Message(x=0.3)), header=header(3)))
    arm.see("top", Message(data=b"\xff\xd8", header=header(4)))
    observed = arm.observe()
    assert (observed.state.tolist(), observed.t_ns) == ([0.1, 0.2, 0.5, 0.3], 1)
    assert observed.pictures["top"].t_ns == 4
    arm.act(np.array([0.5, 0.6, 0.7]))
    arm.stop()
    assert said == [
        {"data": [0.5, 0.6, 0.7]},
        {"data": [0.1, 0.2, 0.0]},
    ]  # by the limit's state, by name, a rate
    recorded = parse_embodiment(arm.embodiment.read_text())
    assert (recorded.name, recorded.match, recorded.control_hz) == ("ur-live", {"embodiment": "ur-live"}, 50)
    assert [d.name for d in recorded.state_dims] == ["a", "b", "grip", "x"]
    assert {f.topic for f in (*recorded.state, *recorded.action)} == {"/state", "/action/executed"}
    assert [(c.topic, c.staleness_ms) for c in recorded.cameras] == [("/camera/top", 100)]
    assert recorded.limits == parse_embodiment(FILE).limits
    with pytest.raises(UserError, match=r"ROS 2 can't be imported .*rclpy.*setup.bash"):
        arm.connect()
