"""The seams of the fleet: what a robot, its scene, a person and a policy are to the actor loop.

A package adds a type of robot by the entry point ``lwd.robots``, a class that implements `RobotType`.
States are (S,), actions (D,), float64, in the units and order of the embodiment file.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lwd_core.fleet.task import Task
from lwd_core.policies.inputs import Randomness, Shown
from storage_schemas.vocabulary import Channel

State = npt.NDArray[np.float64]
Action = npt.NDArray[np.float64]
Chunk = npt.NDArray[np.float32]
#: What cameras show, by name, as JPEG bytes; None for a camera that this embodiment has not.
Frames = Mapping[str, bytes | None]


@dataclass(frozen=True)
class RobotSpec:
    """One robot of a fleet: who and where it is.

    ``clock_offset_ns`` is how far its clock runs ahead of true time. ``camera_hz`` is how often its cameras
    are photographed at least; with 0 they are for the plans of a policy that sees, and only then.
    ``camera_size`` is the side of their square pictures in pixels, 0 for what the cameras give by themselves.
    ``channel`` is where it looks for its policy. ``embodiment`` and ``software``, left empty, are what its
    type of robot says.
    """

    robot_id: str
    site: str
    embodiment: str = ""
    software: str = ""
    clock_offset_ns: int = 0
    camera_hz: float = 0.0
    camera_size: int = 0
    channel: Channel = Channel.PRODUCTION


class Robot(Protocol):
    """A robot, ready to be driven."""

    @property
    def control_hz(self) -> float:
        """Control ticks a second, as the embodiment file says."""
        ...

    def step(self, action: Action) -> tuple[State, bool]:
        """Execute one control tick; return the state after it and whether the task is done."""
        ...

    def photograph(self, size: int = 0) -> Mapping[str, bytes]:
        """A JPEG of each camera as it is now, by its name; empty without cameras.

        ``size``: pixels a side that are asked for, 0 for what the cameras give by themselves.
        """
        ...


class Scene(Protocol):
    """What is around a robot, and can be set up again."""

    def reset(self, seed: int) -> State:
        """Bring the scene of this seed about, robot included, and return what the robot observes.

        The same seed gives the same scene; different ones, different scenes.
        """
        ...


class Person(Protocol):
    """Somebody at the controls of one robot, for one episode: a script, or a device that a person holds."""

    def take_over(self, state: State) -> None:
        """Take the controls from a policy, at this state."""
        ...

    def drive(self, state: State) -> Action:
        """The action of this tick. Called once a tick while the person drives."""
        ...


@dataclass(frozen=True)
class Workcell:
    """A robot before one task, with the scene around it. ``person()`` sits down for one episode.

    ``cameras`` are those of its embodiment file; the fleet fills them in.
    """

    robot: Robot
    scene: Scene
    person: Callable[[], Person]
    cameras: tuple[str, ...] = ()


class RobotType(Protocol):
    """One type of robot: what it is, what it can be asked to do, and where it stands."""

    @property
    def embodiment(self) -> Traversable:
        """Its embodiment file, in its package; a fleet installs it. Topics are those of the robots' own
        log, see docs/fleet.md."""
        ...

    @property
    def tasks(self) -> Mapping[str, Task]:
        """By name, in the order they are listed."""
        ...

    def workcell(self, task: Task) -> Workcell:
        """One set up for a task. They are kept and used for many episodes of it, several at a time."""
        ...

    def close(self) -> None:
        """Let all workcells go."""
        ...


class RobotPolicy(Protocol):
    """A policy as robots run it."""

    @property
    def policy_id(self) -> str:
        """The id every step it proposes is recorded with."""
        ...

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras it must be shown; none if it acts by proprioception alone."""
        ...

    @property
    def sizes(self) -> Mapping[str, Collection[tuple[int, int]]]:
        """Heights and widths of the pictures it learned from, by camera; of one that is not there, any do."""
        ...

    def act(
        self,
        states: npt.NDArray[np.float32],
        instructions: list[str],
        generator: Randomness,
        frames: Sequence[Shown] | None = None,
    ) -> Chunk:
        """Action chunks (B, H, D) for states (B, S) and their instructions, within the action limits.

        ``generator`` is the only source of randomness, one for all states or one each. ``frames``: for each
        state what `cameras` show; None for a policy without.
        """
        ...
