"""Meta-World's arms as a type of robot: what the door ``lwd.robots`` finds under ``metaworld``."""

from collections.abc import Mapping
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from lwd_core.fleet.robot import Workcell
from lwd_core.fleet.sim.takeover import Teleoperator
from lwd_core.fleet.sim.tasks import all_tasks
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
