"""When each version of a table was committed. Versions have an order; clocks only tell roughly when.

Several machines commit to one table and one of their clocks may be wrong, or be set. So the stamps that
agree with the order of the versions are believed, as many as possible, and a version whose own stamp does
not fit was committed somewhere between those of its neighbours that do.
"""

import json
import re
from bisect import bisect_right
from datetime import UTC, datetime
from typing import NamedTuple

from lwd_core.storage.location import Location

_ENTRY = re.compile(r"\d{20}\.json")


class Committed(NamedTuple):
    """A version of a table and the bounds of when it was committed; both the same where its stamp fits."""

    version: int
    earliest: datetime
    latest: datetime


def commits(place: Location, table: str) -> list[Committed]:
    """Every version whose log entry is still there, oldest first; neither time ever goes back."""
    folder = place.path("tables", table, "_delta_log")
    if not place.fs.exists(folder):
        return []
    names = [name for name in place.fs.find(folder) if _ENTRY.fullmatch(name.rsplit("/", 1)[-1])]
    # at once, as a bucket answers many questions together; what an erasure takes meanwhile is left out
    entries = place.fs.cat(names, on_error="omit") if names else {}
    stamped = [(_version(name), _stamp(entry)) for name, entry in sorted(entries.items())]
    known = [(version, stamp) for version, stamp in stamped if stamp is not None]
    agreed = _agreed([stamp for _, stamp in known])
    found: list[Committed] = []
    for i, (version, _) in enumerate(known):
        after = bisect_right(agreed, i)
        earliest = known[agreed[max(after - 1, 0)]][1]
        own = after > 0 and agreed[after - 1] == i
        latest = earliest if own or after == len(agreed) else known[agreed[after]][1]
        found.append(Committed(version, _moment(earliest), _moment(latest)))
    return found


def committed(place: Location, table: str, version: int) -> datetime | None:
    """By when a version was committed; None where its log entry is gone or never was."""
    return next((c.latest for c in commits(place, table) if c.version == version), None)


def version_at(place: Location, table: str, moment: datetime) -> int | None:
    """The newest version committed by a moment; None where that is before what the log still tells.

    In doubt an episode came late and all that belongs to it early: so none is seen without its steps.
    """
    sure = table == "episodes"
    by_then = [c.version for c in commits(place, table) if (c.latest if sure else c.earliest) <= moment]
    return by_then[-1] if by_then else None


def _agreed(stamps: list[int]) -> list[int]:
    """Places of the longest run of stamps that never falls; of two as long, the one that ends lowest."""
    tails: list[int] = []  # by length: the place of the lowest stamp such a run can end with
    lowest: list[int] = []
    before: list[int | None] = []
    for place, stamp in enumerate(stamps):
        at = bisect_right(lowest, stamp)
        before.append(tails[at - 1] if at else None)
        tails[at : at + 1], lowest[at : at + 1] = [place], [stamp]
    run: list[int] = []
    place = tails[-1] if tails else None
    while place is not None:
        run.append(place)
        place = before[place]
    return run[::-1]


def _version(name: str) -> int:
    return int(name.rsplit("/", 1)[-1].removesuffix(".json"))


def _stamp(entry: bytes) -> int | None:
    """The time a commit states, ms since epoch."""
    for line in entry.decode().splitlines():
        action = json.loads(line)
        if "commitInfo" in action:
            return action["commitInfo"]["timestamp"]
    return None


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp / 1000, UTC)
