"""ALOHA for a fleet: two ViperX arms at a table, in MuJoCo by gym-aloha's models.

``aloha`` is the type of robot a simulated fleet has.
"""

from importlib import resources
from typing import TYPE_CHECKING

from lwd_core.extend import Task, Workcell

if TYPE_CHECKING:
    from lwd_aloha.table import Cameras

#: What a person sees move: the arms and what lies on the table.
_WATCHED = slice(0, 28)
TASKS = {
    task.name: task
    for task in (
        Task(
            "transfer-cube",
            limit=300,
            instructions=(
                "hand the cube from the right arm to the left",
                "pass the red cube over to the left arm",
                "pick up the cube and give it to the other arm",
            ),
            unseen=("let the left arm take the cube from the right one",),
            usual=115,
            scene="transfer_cube",
            watched=_WATCHED,
        ),
        Task(
            "insertion",
            limit=300,
            instructions=(
                "put the peg into the socket",
                "insert the red peg into the blue socket",
                "lift both and push the peg in",
            ),
            unseen=("plug the peg into the blue socket",),
            usual=125,
            scene="insertion",
            watched=_WATCHED,
        ),
    )
}


class Aloha:
    """Implements ``RobotType``. The simulator is loaded with the first workcell."""

    embodiment = resources.files("lwd_aloha") / "aloha.yaml"
    tasks = TASKS

    def __init__(self) -> None:
        self._cameras: Cameras | None = None

    def workcell(self, task: Task) -> Workcell:
        """A table, and somebody who can sit down at it."""
        from lwd_aloha.driver import Driver
        from lwd_aloha.table import Cameras, Table

        self._cameras = self._cameras or Cameras()
        table = Table(task, self._cameras)
        return Workcell(table, table, lambda: Driver(table))

    def close(self) -> None:
        """Free what the cameras hold."""
        if self._cameras:
            self._cameras.close()
