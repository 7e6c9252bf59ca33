"""Meta-World's arms as a type of robot: what the door ``lwd.robots`` finds under ``metaworld``."""

from collections.abc import Mapping
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from lwd_core.fleet.robot import Workcell
from lwd_core.fleet.sim.takeover import Teleoperator
from lwd_core.fleet.sim.tasks import RESTOCKING, all_tasks, tasks_by_sight
from lwd_core.fleet.task import Task

if TYPE_CHECKING:
    from lwd_core.fleet.sim.rendering import Rendering


class MetaWorld:
    """Sawyer arms in MuJoCo; implements ``RobotType``. The simulator is loaded with the first arm."""

    embodiment = resources.files("lwd_core.fleet.sim") / "embodiments" / "sawyer.yaml"

    def __init__(self) -> None:
        self._rendering: Rendering | None = None

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Those of ``tasks.yaml``."""
        return all_tasks()

    def workcell(self, task: Task) -> Workcell:
        """An arm; what one scene's pictures need is made once for all of them."""
        from lwd_core.fleet.sim.metaworld import Arm
        from lwd_core.fleet.sim.rendering import Rendering
        from lwd_core.fleet.sim.tours import Tour

        self._rendering = self._rendering or Rendering()
        arm = Arm(task, self._rendering)
        arm = Tour(arm, task.stages) if task.stages else arm
        return Workcell(arm, arm, partial(Teleoperator, arm))

    def close(self) -> None:
        """Free what rendering holds."""
        if self._rendering:
            self._rendering.close()


class SawyerEyes:
    """The same arm where it must look: no object and no goal is in its state; implements ``RobotType``."""

    embodiment = resources.files("lwd_core.fleet.sim") / "embodiments" / "sawyer-eyes.yaml"

    def __init__(self) -> None:
        self._rendering: Rendering | None = None

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Meta-World's short ones, and restocking."""
        return tasks_by_sight()

    def workcell(self, task: Task) -> Workcell:
        """An arm; what one scene's pictures need is made once for all of them."""
        from lwd_core.fleet.sim.metaworld import Arm
        from lwd_core.fleet.sim.proprioception import ProprioceptiveArm
        from lwd_core.fleet.sim.rendering import Rendering
        from lwd_core.fleet.sim.restocking import Stockroom

        self._rendering = self._rendering or Rendering()
        if task.scene == RESTOCKING:
            arm = Stockroom(task, self._rendering)
        else:
            arm = ProprioceptiveArm(Arm(task, self._rendering))
        return Workcell(arm, arm, arm.person)

    def close(self) -> None:
        """Free what rendering holds."""
        if self._rendering:
            self._rendering.close()
