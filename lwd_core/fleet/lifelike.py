"""A simulated robot in its place, driven as one in real time."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from lwd_core.fleet.devices import driver, reached
from lwd_core.fleet.pace import Timekeeper
from lwd_core.fleet.rig import Rig
from lwd_core.fleet.robot import Action, Buttons, Observed, Person, Picture, State, Workcell
from lwd_core.fleet.task import Task
from lwd_core.fleet.workcells import Workcells
from storage_schemas.vocabulary import Outcome

#: The controls that are a simulated robot's own scripted person.
EXPERT = "expert"


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
            reached(device.connect, f"controls {type(device).__name__}")

    def at(self, task: Task) -> Rig:
        """A workcell of this task, kept."""
        if task.name not in self._rigs:
            cell = self._borrowed.enter_context(self._cells.borrow(task))
            arm = AtLifesPace(cell, self._keeper, self._camera_hz, self._camera_size)
            device = driver(self._controls)
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
