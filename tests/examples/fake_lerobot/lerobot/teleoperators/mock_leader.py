"""A leader arm whose events come by the number of its readings."""

from dataclasses import dataclass, field
from enum import Enum

from lerobot.teleoperators import TeleoperatorConfig


class TeleopEvents(Enum):
    SUCCESS = "success"
    RERECORD_EPISODE = "rerecord_episode"
    IS_INTERVENTION = "is_intervention"
    TERMINATE_EPISODE = "terminate_episode"


@TeleoperatorConfig.register_subclass("mock_leader")
@dataclass
class MockLeaderConfig(TeleoperatorConfig):
    port: str = ""
    values: dict = field(default_factory=lambda: {"gripper": 20.0, "lift": 10.0, "pan": -15.0})
    # event -> from and to which reading, and again after as many as `every`
    events: dict = field(default_factory=dict)
    every: int = 1_000_000


class MockLeader:
    config_class = MockLeaderConfig
    name = "mock_leader"

    def __init__(self, config):
        self.config, self.id = config, config.id
        self._is_connected, self.readings, self.fault = False, 0, None

    @property
    def action_features(self) -> dict:
        return {f"{motor}.pos": float for motor in self.config.values}

    @property
    def feedback_features(self) -> dict:
        return {}

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def connect(self, calibrate: bool = True) -> None:
        self._is_connected = True

    @property
    def is_calibrated(self) -> bool:
        return True

    def get_teleop_events(self) -> dict:
        self.readings += 1
        at = self.readings % self.config.every
        spans = {TeleopEvents(name): span for name, span in self.config.events.items()}
        return {event: event in spans and spans[event][0] <= at < spans[event][1] for event in TeleopEvents}

    def get_action(self) -> dict:
        if self.fault:
            raise self.fault
        return {f"{motor}.pos": value for motor, value in self.config.values.items()}

    def disconnect(self) -> None:
        self._is_connected = False
