"""A robot that speaks ROS 2 in an LWD fleet; rclpy is imported when it connects."""

from ros2_arm.node import Ros2Arm, Ros2Commands

__all__ = ["Ros2Arm", "Ros2Commands"]
