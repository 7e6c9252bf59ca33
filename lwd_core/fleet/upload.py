"""Bring finished logs from a robot's own disk to the landing zone.

The digest goes first, the log second, each written whole under its name: whoever sees a log can
know its digest, and a digest without a log is an upload under way. Names end in the head of the
digest, so a log is never overwritten by another one. Delivery is at least once: a log leaves the
robot's disk only after both writes returned, and a repeated upload of the same bytes changes
nothing. Beside the digest an enrolled robot vouches for its log (`lwd_core.robots.enrolment`).
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lwd_core.fleet.link import over_the_line
from lwd_core.fleet.robot import RobotSpec
from lwd_core.policies.keys import robot_key
from lwd_core.robots.enrolment import vouch
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location

DIGEST_SUFFIX = ".sha256"
_PART = 1 << 18


@dataclass(frozen=True)
class Landed:
    """A log in the landing zone."""

    uri: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Backoff:
    """How long to wait between attempts: doubling from ``first_s`` to ``most_s``, ``attempts`` in all."""

    attempts: int = 5
    first_s: float = 0.2
    most_s: float = 10.0

    def waits(self) -> list[float]:
        """Seconds to wait after each failed attempt but the last."""
        return [min(self.first_s * 2**i, self.most_s) for i in range(self.attempts - 1)]


class LogFault(OSError):
    """A log that can't be read or removed here, whatever the line."""


@dataclass(frozen=True)
class Uplink:
    """How a robot's logs go: ``vouch`` gives the line that stands beside a digest, ``bytes_s`` is the most a
    second, 0 what the line holds."""

    vouch: Callable[[str], str] | None = None
    bytes_s: float = 0.0

    @classmethod
    def of(cls, settings: Settings, robot: RobotSpec) -> "Uplink":
        """As this machine's settings and keys say. Raises UserError for a damaged key."""
        key = robot_key(settings.keys, robot.robot_id)
        vouched = partial(vouch, robot.robot_id, robot.site, key=key) if key else None
        return cls(vouched, settings.upload_mbit * 1e6 / 8)


def land(
    log: Path,
    landing: str,
    folder: str,
    *,
    uplink: Uplink = Uplink(),
    backoff: Backoff = Backoff(),
    sleep: Callable[[float], None] = time.sleep,
) -> Landed:
    """Upload ``log`` to ``landing/folder`` (``<site>/<day>/<robot>``), then delete it here.

    ``landing`` is a folder or a URL. Raises the last OSError if every attempt failed, `LogFault` where it is
    this log's alone; the log is then still here.
    """
    try:
        with open(log, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = log.stat().st_size
    except OSError as error:
        raise LogFault(f"{log}: can't be read ({error.strerror}); mend its rights or the disk") from error
    name = f"{folder}/{log.stem}-{sha256[:8]}{log.suffix}"
    place = open_location(landing)
    beside = f"{sha256}\n" + (f"{uplink.vouch(sha256)}\n" if uplink.vouch else "")

    def attempt() -> None:
        with over_the_line():
            if place.exists(name):
                return
            with place.write(name + DIGEST_SUFFIX) as there:
                there.write(beside.encode())
            with open(log, "rb") as here, place.write(name) as there:
                while part := here.read(_PART):
                    there.write(part)
                    if uplink.bytes_s:
                        sleep(len(part) / uplink.bytes_s)

    for wait in backoff.waits():
        try:
            attempt()
            break
        except OSError:
            sleep(wait)
    else:
        attempt()
    try:
        log.unlink()
    except OSError as error:
        raise LogFault(f"{log}: landed, and can't be removed here ({error.strerror}); remove it") from error
    return Landed(place.path(name), sha256, size)
