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
    from lwd_core.fleet.sim.metaworld import Studio


class MetaWorld:
    """Sawyer arms in MuJoCo; implements ``RobotType``. The simulator is loaded with the first arm."""

    embodiment = resources.files("lwd_core.fleet.sim") / "embodiments" / "sawyer.yaml"

    def __init__(self) -> None:
        self._studio: Studio | None = None

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Those of ``tasks.yaml``."""
        return all_tasks()

    def workcell(self, task: Task) -> Workcell:
        """An arm; one renderer serves all of them before the same scene."""
        from lwd_core.fleet.sim.metaworld import Arm, Studio
        from lwd_core.fleet.sim.tours import Tour

        self._studio = self._studio or Studio()
        arm = Arm(task, self._studio)
        arm = Tour(arm, task.stages) if task.stages else arm
        return Workcell(arm, arm, partial(Teleoperator, arm))

    def close(self) -> None:
        """Free what rendering holds."""
        if self._studio:
            self._studio.close()
