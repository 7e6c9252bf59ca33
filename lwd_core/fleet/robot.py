"""The seams of the fleet, each for whoever needs it: robot, scene, person, outcome, tasks, policy.

A *robot* lives in real time: it is observed and told what to do, many times a second (`Robot`). A
*simulated robot* lives in its own: time stands still between its steps (`SimulatedRobot`), and a
`RobotType` builds as many as are asked for. A package adds either by the entry point ``lwd.robots``, or a
person names it as ``module:Class``. A `Scene` can be set up again without a person, a `Person` drives,
`Buttons` are what a person presses, `Controls` are both, a `Referee` says how an episode went, a
`TaskQueue` what to do next.

States are (S,), actions (D,), float64, in the units and order of the embodiment file.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources.abc import Traversable
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lwd_core.fleet.task import Job, Task
from lwd_core.policies.inputs import Randomness, Shown
from storage_schemas.vocabulary import Channel, InterventionReason, Outcome

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


@dataclass(frozen=True)
class Picture:
    """What a camera showed: a JPEG, and when it was taken, ns since epoch by the clock of the robot's
    computer (``time.time_ns()``). The same stamp is the same picture."""

    jpeg: bytes
    t_ns: int


@dataclass(frozen=True)
class Observed:
    """What a robot measured: its state (S,) and when, ns since epoch by the clock of its computer, and the
    newest picture of each camera that has one."""

    state: State
    t_ns: int
    pictures: Mapping[str, Picture] = field(default_factory=dict[str, Picture])


class Robot(Protocol):
    """A robot in real time, driven by `lwd_core.fleet.control`.

    Its class is what the door ``lwd.robots`` names, made with what ``--set`` gives. It may say more of
    itself: ``embodiment`` (the file, as `RobotType.embodiment`) and ``tasks`` (by name), else whoever runs
    it does; and be a `Scene` or a `Referee` too, where it can. One with a ``fit(embodiment)`` is handed the
    file that counts before it is connected, as are `Controls`.
    """

    @property
    def control_hz(self) -> float:
        """Control ticks a second, as the embodiment file says."""
        ...

    def connect(self) -> None:
        """Open what it is reached by, and be ready to move. Called once, before anything else; raises what it
        likes where it can't."""
        ...

    def observe(self) -> Observed:
        """The newest state and pictures there are, without waiting for newer ones: called every control tick.

        Cameras are read by threads of the robot's own; what has stopped to come is told by its stamp.
        """
        ...

    def act(self, action: Action) -> Action | None:
        """Carry an action (D,) out, within the embodiment's limits; return at once.

        Returns what is carried out where the robot changed it, None for the action as it was given.
        """
        ...

    def stop(self) -> None:
        """Stand still safely, now: hold, brake, or let go, whichever is safe for this robot.

        May be called from another thread, while `observe` or `act` hang, again and again, and when nothing
        moves. `act` may follow it when the next episode begins.
        """
        ...

    def close(self) -> None:
        """Let everything go. Called last, also after `connect` or anything else has failed."""
        ...


class SimulatedRobot(Protocol):
    """A robot whose time stands still between its steps, ready to be driven."""

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


@runtime_checkable
class Scene(Protocol):
    """What is around a robot, and can be set up again without a person. Where there is none, a person is
    asked to, and says when it is done."""

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


class Button(StrEnum):
    """What a person can say while a robot works.

    ``READY``: the scene is set up. ``TAKE_OVER`` and ``GIVE_BACK`` the controls. ``SUCCESS`` and
    ``FAILURE`` end the episode; ``DISCARD`` ends it and throws the take away. ``QUIT``: no episode after
    this one. ``STOP``: stand still now.
    """

    READY = "ready"
    TAKE_OVER = "take_over"
    GIVE_BACK = "give_back"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"
    QUIT = "quit"
    STOP = "stop"


@dataclass(frozen=True)
class Press:
    """A button that was pressed, and for a take-over, why; their words will do. ValueError for others."""

    button: Button | str
    reason: InterventionReason | str = InterventionReason.OPERATOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "button", Button(self.button))
        object.__setattr__(self, "reason", InterventionReason(self.reason))


@runtime_checkable
class Buttons(Protocol):
    """What a person presses: keys of a terminal, a pedal, a gamepad."""

    def connect(self) -> None:
        """Open the device. Called once, before anything else."""
        ...

    def pressed(self) -> Sequence[Press]:
        """What was pressed since the last call, in order. Called every control tick; never waits."""
        ...

    def close(self) -> None:
        """Let the device go; also after `connect` has failed."""
        ...


@runtime_checkable
class Controls(Buttons, Person, Protocol):
    """A teleoperation device: a person presses its buttons and drives by it. A package adds one by the entry
    point ``lwd.controls``; one without buttons of its own presses nothing, and keys of the terminal do."""


@runtime_checkable
class Referee(Protocol):
    """Tells how an episode went: a success detector. Without one a person's key says, or nobody knows."""

    def judge(self, observed: Observed) -> Outcome | str | None:
        """Whether the episode is over at this tick, and how it went: ``success``, ``failure`` or ``unknown``;
        None while it goes on."""
        ...


class TaskQueue(Protocol):
    """What there is to do, one thing after the other."""

    def take(self) -> Job | None:
        """The next episode to run; None when nothing is left."""
        ...


@dataclass(frozen=True)
class Workcell:
    """A simulated robot before one task, with the scene around it. ``person()`` sits down for one episode.

    ``cameras`` are those of its embodiment file; the fleet fills them in.
    """

    robot: SimulatedRobot
    scene: Scene
    person: Callable[[], Person]
    cameras: tuple[str, ...] = ()


class RobotType(Protocol):
    """One type of simulated robot: what it is, what it can be asked to do, and where it stands."""

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
        embodiment: str = "",
    ) -> Chunk:
        """Action chunks (B, H, D) for states (B, S) and their instructions, within the action limits.

        ``generator`` is the only source of randomness, one for all states or one each. ``frames``: for each
        state what `cameras` show; None for a policy without. ``embodiment``: whose states they are; one that
        learned from several knows no other.
        """
        ...
