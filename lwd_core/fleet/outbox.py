"""What waits on a robot's disk to be uploaded."""

from collections.abc import Callable
from pathlib import Path

from lwd_core.fleet.actor import Delivered, landing_folder
from lwd_core.fleet.episode import Ran
from lwd_core.fleet.recorder import rescue
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.upload import Backoff, Landed, land

Landing = Callable[[RobotSpec, Landed, Ran | None], None]


class Outbox:
    """The finished logs of one robot, oldest first, and those a robot that went down left in ``folder``.

    ``online`` says whether the line is up; ``landed`` is told every log that arrives, with its
    episode unless an earlier process ran it; ``complain`` hears what goes wrong.
    """

    def __init__(
        self,
        robot: RobotSpec,
        folder: Path,
        landing: str,
        backoff: Backoff,
        online: Callable[[], bool],
        landed: Landing,
        complain: Callable[[str], None],
    ) -> None:
        self._robot, self._folder, self._landing, self._backoff = robot, folder, landing, backoff
        self._online, self._landed, self._complain = online, landed, complain
        self._ran: dict[Path, Ran] = {}
        self.delivered: list[Delivered] = []
        self.recover("when the robot went down")

    def recover(self, why: str) -> None:
        """Put the log of an episode that was cut off among those to be sent; not while one runs."""
        for left in rescue(self._folder):
            self._complain(f"found {left.name}, cut off {why}")

    def put(self, ran: Ran) -> None:
        """An episode whose log lies in the folder."""
        self._ran[ran.log] = ran

    def waiting(self) -> list[Path]:
        """Logs still here; their names begin with the time."""
        return sorted(self._folder.glob("*.mcap"))

    def send(self) -> None:
        """Upload everything, as far as the line holds."""
        if not self._online():
            return
        for log in self.waiting():
            try:
                landed = land(log, self._landing, landing_folder(self._robot, log), backoff=self._backoff)
            except OSError as problem:
                self._complain(f"upload failed: {problem}")
                return
            ran = self._ran.pop(log, None)
            self._landed(self._robot, landed, ran)
            if ran:
                self.delivered.append(Delivered(ran, landed))
