"""Robots' own disks: whose logs lie where, and one process at a time to each."""

import fcntl
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lwd_core.errors import StorageError, UserError
from lwd_core.fleet.robot import RobotSpec
from lwd_core.settings import Settings
from lwd_core.storage.relative import plain

_LOCK = ".lock"


def spool_folder(settings: Settings) -> Path:
    """Where robots of this machine keep logs until they have landed; always a local folder."""
    return (
        Path(tempfile.gettempdir(), "lwd-spool") if "://" in settings.home else Path(settings.home, "spool")
    )


@contextmanager
def claimed(settings: Settings, robots: Iterable[RobotSpec]) -> Generator[Path, None, None]:
    """The spool folder, each robot's part of it for this process alone, for the length of a block.

    Two processes that drive the same robot would upload and rename each other's unfinished logs. The
    claim ends with the process, however it ends. Raises UserError where another one holds a robot, where the
    folder can't be written, and for a robot or site whose name can't be a folder's here and in the landing
    zone.
    """
    robots = list(robots)
    for robot in robots:
        for what, name in (("robot", robot.robot_id), ("site", robot.site)):
            if not plain(name):
                raise UserError(
                    f"{what} {name!r}: no name for one; use 1 to 80 letters, digits, dots, dashes, _"
                )
    spool = spool_folder(settings)
    with ExitStack() as held:
        for robot in robots:
            folder = spool / robot.robot_id
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = held.enter_context(open(folder / _LOCK, "wb"))
            except OSError as error:
                raise StorageError(
                    f"{folder}: robot {robot.robot_id}'s logs can't be kept there ({error.strerror}); mend "
                    "its rights or the disk, or give another LWD_HOME"
                ) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{folder}: another process drives robot {robot.robot_id} on this spool; stop it, "
                    "or give these robots another LWD_HOME"
                ) from None
        yield spool
