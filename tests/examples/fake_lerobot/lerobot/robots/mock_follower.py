"""Three motors that go where they are told, 10 degrees or per cent a reading at most, and a camera."""

from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from lerobot.robots import RobotConfig

MOTORS = {"pan": "degrees", "lift": "range_m100_100", "gripper": "range_0_100"}


@RobotConfig.register_subclass("mock_follower")
@dataclass
class MockFollowerConfig(RobotConfig):
    port: str
    cameras: dict = field(default_factory=dict)
    max_relative_target: float | None = None
    calibrated: bool = True


class MockFollower:
    config_class = MockFollowerConfig
    name = "mock_follower"

    def __init__(self, config):
        self.config, self.id, self.cameras = config, config.id, config.cameras
        self._is_connected = False
        self.bus = SimpleNamespace(
            motors={m: SimpleNamespace(norm_mode=mode, model="sts3215") for m, mode in MOTORS.items()},
            calibration={"pan": SimpleNamespace(range_min=1024, range_max=3072)},
            model_resolution_table={"sts3215": 4096},
        )
        self.positions, self.goal = dict.fromkeys(MOTORS, 0.0), dict.fromkeys(MOTORS, 0.0)
        self.sent, self.fault = [], None

    @cached_property
    def observation_features(self) -> dict:
        seen = {name: (camera.height, camera.width, 3) for name, camera in self.cameras.items()}
        return {**self.action_features, **seen}

    @cached_property
    def action_features(self) -> dict:
        return {f"{motor}.pos": float for motor in MOTORS}

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "it would ask at a terminal"
        self._is_connected = True

    @property
    def is_calibrated(self) -> bool:
        return self.config.calibrated

    def get_observation(self) -> dict:
        if self.fault:
            raise self.fault
        for motor, goal in self.goal.items():
            self.positions[motor] += float(np.clip(goal - self.positions[motor], -10, 10))
        pictures = {
            name: np.full((camera.height, camera.width, 3), int(abs(self.positions["pan"])), np.uint8)
            for name, camera in self.cameras.items()
        }
        return {f"{motor}.pos": value for motor, value in self.positions.items()} | pictures

    def send_action(self, action: dict) -> dict:
        most = self.config.max_relative_target or np.inf
        goal = {key.removesuffix(".pos"): value for key, value in action.items()}
        self.goal = {
            m: float(np.clip(v, self.positions[m] - most, self.positions[m] + most)) for m, v in goal.items()
        }
        self.sent.append(dict(self.goal))
        return {f"{motor}.pos": value for motor, value in self.goal.items()}

    def disconnect(self) -> None:
        self._is_connected = False
