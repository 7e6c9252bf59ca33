"""A robot in its place, to be driven in real time: what every one is, and somebody's own."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol

from lwd_core.errors import UserError
from lwd_core.fleet.devices import REFEREES, driver, fit, reached
from lwd_core.fleet.rig import Rig
from lwd_core.fleet.robot import Buttons, Person, Referee, RobotSpec, Scene
from lwd_core.fleet.task import Task
from lwd_core.fleet.workcells import ROBOTS, install_embodiment
from lwd_core.logs.embodiment import load_embodiment, parse_embodiment
from lwd_core.plugins import PluginError
from lwd_core.settings import Settings
from storage_schemas.embodiment import Embodiment

_ROBOT = ("control_hz", "connect", "observe", "act", "stop", "close")


class Stand(Protocol):
    """A robot in its place: what it is and can be asked to do, and for each task the rig to drive."""

    @property
    def embodiment(self) -> Embodiment: ...

    @property
    def tasks(self) -> Mapping[str, Task]: ...

    def of_type(self, spec: RobotSpec) -> RobotSpec:
        """A robot that says what it is and runs, where nobody said so before."""
        ...

    def install(self, folder: str) -> None:
        """Put its embodiment file into ``folder``, unless one of its name is there."""
        ...

    def sit_down(self, controls: Sequence[Buttons]) -> None:
        """A person, at these devices."""
        ...

    def connect(self) -> None:
        """Open robot and controls."""
        ...

    def at(self, task: Task) -> Rig:
        """The rig before this task."""
        ...

    def close(self) -> None:
        """Let them go."""
        ...


class RealStand:
    """Somebody's own robot; implements ``Stand``.

    ``given`` is what its class is made with. ``embodiment``: a file, or the name of one in
    ``settings.embodiments``; by default what the robot says, as the file of that name there has it.
    ``referee`` names one of the door ``lwd.referees``.
    """

    def __init__(
        self,
        settings: Settings,
        robot: str,
        given: Mapping[str, Any],
        *,
        embodiment: str = "",
        referee: str = "",
        operator: str = "",
    ) -> None:
        self._name = robot
        made: Any = ROBOTS.made(robot, **given)
        if lacks := [name for name in _ROBOT if not hasattr(made, name)]:
            raise PluginError(f"robot {robot} has no {', '.join(lacks)}; see docs/your-robot.md")
        said = getattr(made, "embodiment", None)
        self._source: Traversable | None = Path(said) if isinstance(said, str) else said
        self.embodiment = _embodiment(settings, robot, embodiment, self._source)
        fit(made, self.embodiment)
        self.tasks: Mapping[str, Task] = dict(getattr(made, "tasks", {}))
        self._rig = Rig(
            made,
            self.embodiment,
            scene=made if isinstance(made, Scene) else None,
            referee=REFEREES.made(referee) if referee else (made if isinstance(made, Referee) else None),
            operator=operator,
        )

    def add(self, tasks: Sequence[Task]) -> None:
        """Tasks besides those that the robot says it can do."""
        self.tasks = {**self.tasks, **{task.name: task for task in tasks}}

    def sit_down(self, controls: Sequence[Buttons]) -> None:
        """A person, at these devices."""
        device = driver(controls)
        person: Callable[[], Person] | None = (lambda: device) if device else None
        self._rig = replace(self._rig, buttons=tuple(controls), person=person)

    def of_type(self, spec: RobotSpec) -> RobotSpec:
        """What its file and its package say."""
        return replace(
            spec,
            embodiment=spec.embodiment or self.embodiment.name,
            software=spec.software or ROBOTS.package(self._name),
        )

    def install(self, folder: str) -> None:
        """What the robot says of itself; a file that was named is somebody's already."""
        if self._source is not None:
            install_embodiment(folder, self.embodiment.name, self._source)

    def connect(self) -> None:
        """The controls, then the robot. Raises `UserError` where one can't be reached."""
        for device in self._rig.buttons:
            reached(device.connect, f"controls {type(device).__name__}")
        reached(self._rig.robot.connect, f"robot {self._name}")

    def at(self, task: Task) -> Rig:
        """The one there is."""
        return self._rig

    def close(self) -> None:
        """Let robot and controls go, whatever one of them says to that."""
        with ExitStack() as last:
            for device in self._rig.buttons:
                last.callback(device.close)
            last.callback(self._rig.robot.close)


def _embodiment(settings: Settings, robot: str, named: str, own: Traversable | None) -> Embodiment:
    if named:
        path = named if named.endswith((".yaml", ".yml", ".json")) else f"{settings.embodiments}/{named}.yaml"
        return load_embodiment(path)
    if own is None:
        raise UserError(f"robot {robot}: it brings no embodiment file; name one (`--embodiment my-arm.yaml`)")
    told = parse_embodiment(own.read_text(), f"embodiment of robot {robot}")
    installed = Path(settings.embodiments, f"{told.name}.yaml")
    # where its team has written another one, theirs counts: limits, above all
    return load_embodiment(installed) if "://" not in settings.embodiments and installed.exists() else told
