"""Robots and teleoperators of LeRobot in an LWD fleet; LeRobot itself is imported when one is made."""

from lerobot_arms.arm import LeRobotArm
from lerobot_arms.draft import draft
from lerobot_arms.teleop import LeRobotButtons, LeRobotLeader

__all__ = ["LeRobotArm", "LeRobotButtons", "LeRobotLeader", "draft"]
