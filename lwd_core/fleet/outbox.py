"""What waits on a robot's disk to be uploaded, and what goes first where the disk is full.

A robot without a line keeps ``spool_gb`` of logs. Beyond that those it can best do without go, oldest
first: episodes no person had a part in that succeeded, then those of which nobody knows the outcome. A
failure, an episode with a person's ticks, and what was cut off never go: where only they are left, the
robot rests.
"""

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lwd_core.errors import UserError
from lwd_core.fleet.actor import Delivered, landing_folder
from lwd_core.fleet.episode import Ran
from lwd_core.fleet.recorder import rescue
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.upload import Backoff, Landed, LogFault, Uplink, land
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json
from storage_schemas.vocabulary import Outcome

Landing = Callable[[RobotSpec, Landed, Ran | None], None]
DROPPED = "dropped.json"
_WORTH = ".worth"


class Outbox:
    """The finished logs of one robot, oldest first, and those a robot that went down left in ``folder``.

    ``online`` says whether the line is up; ``landed`` is told every log that arrives, with its
    episode unless an earlier process ran it; ``complain`` hears what goes wrong.
    """

    def __init__(
        self,
        settings: Settings,
        robot: RobotSpec,
        folder: Path,
        backoff: Backoff,
        online: Callable[[], bool],
        landed: Landing,
        complain: Callable[[str], None],
    ) -> None:
        self._robot, self.folder, self._landing, self._backoff = robot, folder, settings.landing, backoff
        self._most = settings.spool_gb * 1e9
        self._settings = settings
        self._online, self._landed, self._complain = online, landed, complain
        self._ran: dict[Path, Ran] = {}
        self.delivered: list[Delivered] = []
        self.recover("when the robot went down")

    def recover(self, why: str) -> None:
        """Put the log of an episode that was cut off among those to be sent; not while one runs."""
        for left in rescue(self.folder):
            self._complain(f"found {left.name}, cut off {why}")

    def put(self, ran: Ran) -> None:
        """An episode whose log lies in the folder."""
        if self._most and not ran.human_steps and ran.success is not False:
            try:
                with open_location(str(self.folder)).write(ran.log.name + _WORTH) as file:
                    file.write(ran.outcome.encode())
            except (OSError, UserError) as problem:  # then it counts as one that must not go
                self._complain(str(problem))
        self._ran[ran.log] = ran

    def waiting(self) -> list[Path]:
        """Logs still here; their names begin with the time."""
        return sorted(self.folder.glob("*.mcap"))

    @property
    def dropped(self) -> tuple[int, int]:
        """Logs that went for want of room, and their bytes, in all."""
        try:
            value = json.loads((self.folder / DROPPED).read_bytes())
            return int(value["logs"]), int(value["bytes"])
        except (OSError, ValueError, TypeError, KeyError):
            return 0, 0

    def make_room(self) -> bool:
        """Bring the folder below its bound; False where only logs are left that must not go."""
        if not self._most:
            return True
        logs = self.waiting()
        over = sum(log.stat().st_size for log in logs) - self._most
        if over < 0:
            return True
        for outcome in (Outcome.SUCCESS, Outcome.UNKNOWN):
            for log in logs:
                if over >= 0 and log.exists() and self._worth(log) == outcome:
                    over -= self._drop(log)
        if over >= 0:
            self._complain(
                f"{self._most / 1e9:g} GB of logs wait that must not be lost (failures, interventions); no "
                "episode until they are uploaded: mend the line, or raise spool_gb"
            )
        return over < 0

    def send(self, within_s: float = math.inf) -> None:
        """Upload everything, as far as the line holds; begin no log after ``within_s`` seconds."""
        if not self._online():
            return
        begun, uplink = time.monotonic(), Uplink.of(self._settings, self._robot)
        for log in self.waiting():
            if time.monotonic() - begun > within_s:
                return
            try:
                landed = land(
                    log,
                    self._landing,
                    landing_folder(self._robot, log),
                    uplink=uplink,
                    backoff=self._backoff,
                )
            except LogFault as problem:  # the others go on
                self._complain(str(problem))
                continue
            except OSError as problem:
                self._complain(f"upload failed: {problem}")
                return
            self._forget(log)
            ran = self._ran.pop(log, None)
            self._landed(self._robot, landed, ran)
            if ran:
                self.delivered.append(Delivered(ran, landed))

    def _worth(self, log: Path) -> str:
        """The outcome of an episode that may go; empty where it may not, or nobody knows what it is."""
        with suppress(OSError):
            return log.with_name(log.name + _WORTH).read_text()
        return ""

    def _drop(self, log: Path) -> int:
        """Let a log go and count it; return its bytes. On a full disk there is room to count only then."""
        logs, size = self.dropped
        own = log.stat().st_size
        log.unlink()
        self._forget(log)
        self._ran.pop(log, None)
        self._complain(f"{log.name} ({own} bytes, {self._robot.robot_id}) went for want of room")
        try:
            with open_location(str(self.folder)).write(DROPPED) as file:
                file.write(canonical_json({"logs": logs + 1, "bytes": size + own}))
        except (OSError, UserError) as problem:
            self._complain(f"{problem}; the log above is not counted")
        return own

    def _forget(self, log: Path) -> None:
        log.with_name(log.name + _WORTH).unlink(missing_ok=True)
