"""Bring finished logs from a robot's own disk to the landing zone.

The digest goes first, the log second, each written whole under its name: whoever sees a log can
know its digest, and a digest without a log is an upload under way. Names end in the head of the
digest, so a log is never overwritten by another one. Delivery is at least once: a log leaves the
robot's disk only after both writes returned, and a repeated upload of the same bytes changes
nothing.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lwd_core.fleet.link import over_the_line
from lwd_core.storage.location import open_location

DIGEST_SUFFIX = ".sha256"


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


def land(
    log: Path,
    landing: str,
    folder: str,
    *,
    backoff: Backoff = Backoff(),
    sleep: Callable[[float], None] = time.sleep,
) -> Landed:
    """Upload ``log`` to ``landing/folder`` (``<site>/<day>/<robot>``), then delete it here.

    ``landing`` is a folder or a URL. Raises the last OSError if every attempt failed; the log is
    then still here.
    """
    data = log.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{folder}/{log.stem}-{sha256[:8]}{log.suffix}"
    place = open_location(landing)
    parts = ((name + DIGEST_SUFFIX, f"{sha256}\n".encode()), (name, data))

    def attempt() -> None:
        with over_the_line():
            if place.exists(name):
                return
            for part, content in parts:
                with place.write(part) as file:
                    file.write(content)

    for wait in backoff.waits():
        try:
            attempt()
            break
        except OSError:
            sleep(wait)
    else:
        attempt()
    log.unlink()
    return Landed(place.path(name), sha256, len(data))
