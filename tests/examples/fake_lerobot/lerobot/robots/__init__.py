from dataclasses import dataclass
from typing import ClassVar

from draccus import ChoiceRegistry


@dataclass(kw_only=True)
class RobotConfig(ChoiceRegistry):
    known: ClassVar[dict] = {}
    id: str | None = None


def make_robot_from_config(config):
    from lerobot.robots.mock_follower import MockFollower

    return MockFollower(config)
