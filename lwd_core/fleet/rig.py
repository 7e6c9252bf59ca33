"""What ``--robot`` names, set up to be driven in real time: somebody's robot, or a simulated one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol

from lwd_core.errors import UserError
from lwd_core.fleet.control import Rig
from lwd_core.fleet.pace import Timekeeper
from lwd_core.fleet.robot import (
    Action,
    Buttons,
    Controls,
    Observed,
    Person,
    Picture,
    Referee,
    RobotSpec,
    Scene,
    State,
    Workcell,
)
from lwd_core.fleet.task import Task
from lwd_core.fleet.workcells import ROBOTS, Workcells, install_embodiment
from lwd_core.logs.embodiment import load_embodiment, parse_embodiment
from lwd_core.plugins import Door, PluginError
from lwd_core.settings import Settings
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import Outcome

EXPERT = "expert"
#: A member is a class of `lwd_core.fleet.robot.Controls` or `lwd_core.fleet.robot.Buttons`.
CONTROLS: Door[Any] = Door(
    "lwd.controls",
    {"keys": "lwd_core.fleet.keyboard:Keyboard"},
    needs=("connect", "pressed", "close"),
    kind="controls",
)
#: A member is a class of `lwd_core.fleet.robot.Referee`, made without arguments.
REFEREES: Door[Any] = Door("lwd.referees", {}, needs=("judge",), kind="referee")
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
        _fit(made, self.embodiment)
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
        device = _driver(controls)
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
            _reached(device.connect, f"controls {type(device).__name__}")
        _reached(self._rig.robot.connect, f"robot {self._name}")

    def at(self, task: Task) -> Rig:
        """The one there is."""
        return self._rig

    def close(self) -> None:
        """Let robot and controls go, whatever one of them says to that."""
        with ExitStack() as last:
            for device in self._rig.buttons:
                last.callback(device.close)
            last.callback(self._rig.robot.close)


class SimulatedStand:
    """A simulated robot at life's pace, or as fast as ``keeper`` leaps; implements ``Stand``.

    Its scenes set themselves up, its tasks say when they are done, and with ``expert`` its scripted person
    sits at the controls. ``camera_hz``: how often it is photographed.
    """

    def __init__(
        self,
        robot: str,
        keeper: Timekeeper,
        *,
        expert: bool = False,
        camera_hz: float = 0.0,
        camera_size: int = 0,
        operator: str = "",
    ) -> None:
        self._cells = Workcells(robot)
        self._keeper, self._expert, self._operator = keeper, expert, operator
        self._camera_hz, self._camera_size = camera_hz, camera_size
        self._controls: tuple[Buttons, ...] = ()
        self._borrowed = ExitStack()
        self._rigs: dict[str, Rig] = {}
        self.embodiment, self.tasks = self._cells.embodiment, self._cells.tasks
        self.of_type, self.install = self._cells.of_type, self._cells.install

    def sit_down(self, controls: Sequence[Buttons]) -> None:
        """A person, at these devices."""
        self._controls = tuple(controls)

    def connect(self) -> None:
        """The controls; there is nothing else."""
        for device in self._controls:
            _reached(device.connect, f"controls {type(device).__name__}")

    def at(self, task: Task) -> Rig:
        """A workcell of this task, kept."""
        if task.name not in self._rigs:
            cell = self._borrowed.enter_context(self._cells.borrow(task))
            arm = AtLifesPace(cell, self._keeper, self._camera_hz, self._camera_size)
            device = _driver(self._controls)
            by_device: Callable[[], Person] | None = (lambda: device) if device else None
            person = cell.person if self._expert else by_device
            self._rigs[task.name] = Rig(
                arm, self.embodiment, arm, arm, person, self._controls, self._operator
            )
        return self._rigs[task.name]

    def close(self) -> None:
        """Let workcells and controls go."""
        with ExitStack() as last:
            for device in self._controls:
                last.callback(device.close)
            last.callback(self._cells.close)
            last.callback(self._borrowed.close)


class AtLifesPace:
    """A simulated robot as one in real time: ``Robot``, ``Scene`` and ``Referee`` in one."""

    def __init__(self, cell: Workcell, keeper: Timekeeper, camera_hz: float, camera_size: int) -> None:
        self.control_hz = cell.robot.control_hz
        self._cell, self._keeper, self._size = cell, keeper, camera_size
        self._every_ns = round(1e9 / camera_hz) if camera_hz else 0
        self._state: State | None = None
        self._pictures: dict[str, Picture] = {}
        self._looked_ns = 0
        self._done = False

    def connect(self) -> None:
        """Nothing to open."""

    def reset(self, seed: int) -> State:
        """The scene of this seed."""
        self._state, self._done = self._cell.scene.reset(seed), False
        self._pictures, self._looked_ns = {}, 0
        return self._state

    def observe(self) -> Observed:
        """The state as it stands; new pictures as often as they are due."""
        if self._state is None:
            raise ValueError("the scene was never set up")
        now = self._keeper.now_ns()
        if self._every_ns and now - self._looked_ns >= self._every_ns:
            shown = self._cell.robot.photograph(self._size) if self._size else self._cell.robot.photograph()
            self._pictures = {camera: Picture(jpeg, now) for camera, jpeg in shown.items()}
            self._looked_ns = now
        return Observed(self._state, now, self._pictures)

    def act(self, action: Action) -> None:
        """One step."""
        self._state, self._done = self._cell.robot.step(action)

    def judge(self, observed: Observed) -> Outcome | None:
        """Success where the simulator says that the task is done."""
        return Outcome.SUCCESS if self._done else None

    def stop(self) -> None:
        """It stands still between steps."""

    def close(self) -> None:
        """Its workcell is its stand's."""


def made_controls(names: Sequence[str], given: Mapping[str, Any], embodiment: Embodiment) -> list[Buttons]:
    """The devices of these names, the first made with what is given. Raises `PluginError`."""
    found: list[Buttons] = []
    for i, name in enumerate(names):
        device = CONTROLS.made(name, **(given if i == 0 else {}))
        _fit(device, embodiment)
        found.append(device)
    return found


def _fit(made: object, embodiment: Embodiment) -> None:
    """Tell a robot or device that asks for it which embodiment file counts."""
    fit: Callable[[Embodiment], None] | None = getattr(made, "fit", None)
    if fit is not None:
        fit(embodiment)


def _reached(connect: Callable[[], None], who: str) -> None:
    try:
        connect()
    except UserError:
        raise
    except Exception as error:  # whatever a stranger's driver raises
        raise UserError(
            f"{who} can't be connected ({type(error).__name__}: {error}); look after cable, power and port"
        ) from error


def _driver(controls: Sequence[Buttons]) -> Controls | None:
    """The first device that a person can drive by."""
    return next((device for device in controls if isinstance(device, Controls)), None)


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
