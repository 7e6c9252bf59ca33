"""Types of robots by name, and a pool of their workcells, so that each is built once and used often."""

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

from lwd_core.errors import UserError
from lwd_core.fleet.robot import RobotSpec, RobotType, Workcell
from lwd_core.fleet.task import Task
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.plugins import Door, PluginError
from lwd_core.storage.location import open_location
from storage_schemas.embodiment import Embodiment

DEFAULT = "metaworld"
#: A member is a class: a `lwd_core.fleet.robot.RobotType`, made without arguments, or a
#: `lwd_core.fleet.robot.Robot`.
ROBOTS: Door[Any] = Door(
    "lwd.robots",
    {DEFAULT: "lwd_core.fleet.sim.arms:MetaWorld", "sawyer-eyes": "lwd_core.fleet.sim.arms:SawyerEyes"},
    needs=("close",),
    kind="robot",
)
_SIMULATED = ("embodiment", "tasks", "workcell")


def is_simulated(robot: str) -> bool:
    """Whether a robot of the door is a `RobotType`, whose time stands still between its steps.

    Raises `PluginError` for one that there is not.
    """
    return hasattr(ROBOTS.get(robot), "workcell")


class Workcells:
    """Workcells of one type of robot, which is named as in the door ``lwd.robots`` or ``module:Class``.

    Raises UserError for a robot there is not, and for one in real time. A context: closed at its end.
    """

    def __init__(self, robot: str = DEFAULT) -> None:
        self.robot = robot
        made: Any = ROBOTS.get(robot)
        if not is_simulated(robot) and hasattr(made, "observe"):
            raise UserError(
                f"robot {robot}: it lives in real time; `lwd robot run --robot {robot}` drives it"
            )
        if lacks := [name for name in _SIMULATED if not hasattr(made, name)]:
            raise PluginError(f"robot {robot} has no {', '.join(lacks)}")
        self._type: RobotType = ROBOTS.made(robot)
        self._idle: dict[str, list[Workcell]] = defaultdict(list)
        self.tasks = self._type.tasks

    @cached_property
    def embodiment(self) -> Embodiment:
        """What the robot's package says of it. Raises UserError for a file that doesn't check."""
        return parse_embodiment(self._type.embodiment.read_text(), f"embodiment of robot {self.robot}")

    @cached_property
    def _cameras(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.embodiment.cameras)

    def of_type(self, spec: RobotSpec) -> RobotSpec:
        """A robot that says what it is and runs, where nobody said so before."""
        software = "lwd-sim" if self.robot in ROBOTS.own else ROBOTS.package(self.robot)
        return replace(
            spec, embodiment=spec.embodiment or self.embodiment.name, software=spec.software or software
        )

    def install(self, folder: str) -> None:
        """Put the robot's embodiment file into ``folder``, unless one of its name is there.

        Whoever drives robots does it, so that what they record can be read. A bucket is left to its owner.
        """
        install_embodiment(folder, self.embodiment.name, self._type.embodiment)

    @contextmanager
    def borrow(self, task: Task) -> Generator[Workcell, None, None]:
        """A workcell set up for this task, for the length of a block.

        Raises UserError where robot and embodiment file are not at one on the rate.
        """
        idle = self._idle[task.name]
        cell = idle.pop() if idle else replace(self._type.workcell(task), cameras=self._cameras)
        hz = self.embodiment.control_hz
        if cell.robot.control_hz != hz:
            raise UserError(
                f"robot {self.robot}: it runs at {cell.robot.control_hz:g} Hz, its embodiment file says "
                f"control_hz: {hz:g}; make them one"
            )
        try:
            yield cell
        finally:
            idle.append(cell)

    def close(self) -> None:
        """Let all of them go."""
        self._type.close()
        self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def install_embodiment(folder: str, embodiment: str, source: Traversable) -> None:
    """Write an embodiment's file into a folder that has none of its name; see `Workcells.install`."""
    name = f"{embodiment}.yaml"
    if "://" in folder or Path(folder, name).exists():
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with open_location(folder).write(name) as file:
            file.write(source.read_bytes())
    except OSError as error:
        raise UserError(f"{folder}: the robot's {name} can't be written there ({error})") from error


@contextmanager
def of_robot(robot: str, given: Workcells | None) -> Generator[Workcells, None, None]:
    """The workcells that are given, to be used on, else some of this robot for the length of a block."""
    if given is not None:
        if given.robot != robot:
            raise ValueError(f"workcells of {given.robot} for a fleet of {robot}")
        yield given
        return
    with Workcells(robot) as own:
        yield own
