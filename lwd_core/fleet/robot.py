"""The seams of the fleet: what a robot, a person at its controls and a policy are to the actor loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from storage_schemas.vocabulary import Channel

State = npt.NDArray[np.float64]
Action = npt.NDArray[np.float64]
Chunk = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RobotSpec:
    """One robot of a fleet: who and where it is.

    ``clock_offset_ns`` is how far its clock runs ahead of true time. ``camera_hz`` is 0 for a robot
    without a camera. ``channel`` is where it looks for its policy.
    """

    robot_id: str
    site: str
    embodiment: str = "sawyer"
    software: str = "lwd-sim"
    clock_offset_ns: int = 0
    camera_hz: float = 0.0
    channel: Channel = Channel.PRODUCTION


class Robot(Protocol):
    """A robot that stands before one task. States are (S,), actions (D,) in the embodiment's units."""

    @property
    def control_hz(self) -> float:
        """Control ticks a second."""
        ...

    def reset(self, seed: int) -> State:
        """Bring the scene of this seed about and return what the robot observes."""
        ...

    def step(self, action: Action) -> tuple[State, bool]:
        """Execute one control tick; return the state after it and whether the task is done."""
        ...

    def person(self, state: State) -> Action:
        """What a person at the controls does in this state."""
        ...

    def photograph(self) -> Mapping[str, bytes]:
        """A JPEG of each camera, by its name."""
        ...


class Policy(Protocol):
    """A policy as robots run it."""

    @property
    def policy_id(self) -> str:
        """The id every step it proposes is recorded with."""
        ...

    def act(
        self, states: npt.NDArray[np.float32], instructions: list[str], generator: np.random.Generator
    ) -> Chunk:
        """Action chunks (B, H, D) for states (B, S) and their instructions, within the action limits.

        ``generator`` is the only source of randomness.
        """
        ...
