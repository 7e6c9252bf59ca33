"""The two ways the graph is cut: data by day and site, learning by round.

A site is an ordinary dynamic partition, so that a new depot needs no deployment; its name
is validated here because Dagster takes any text. Demonstration days of simulated fleets
are days like any other.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from lwd_core.errors import UserError

FIRST_DAY = "2020-01-01"
#: ``end_offset``: today is a partition too, else a log would wait for midnight.
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)
SITES = dg.DynamicPartitionsDefinition(name="site")
DAY_SITE = dg.MultiPartitionsDefinition({"day": DAYS, "site": SITES})
ROUNDS = dg.DynamicPartitionsDefinition(name="round")

#: What Dagster takes for no partition key.
_NO_KEY = "..."
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, order=True)
class Cell:
    """One day of one site."""

    day: str
    site: str

    @property
    def key(self) -> str:
        """The partition key, dimensions in Dagster's (alphabetical) order."""
        return f"{self.day}|{self.site}"


def cells(partition_keys: Iterable[str]) -> list[Cell]:
    """Read day × site partition keys."""
    return [Cell(*key.split("|")) for key in partition_keys]


def inside(partition_keys: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """SQL that holds for rows of these day × site partitions, and its parameters."""
    wanted = cells(partition_keys)
    marks = ", ".join("(?, ?)" for _ in wanted)
    return f"(day, site) IN ({marks})", tuple(value for cell in wanted for value in (cell.day, cell.site))


def valid_site(name: str) -> str:
    """Return ``name`` if a site may be called so: as `lwd ingest` takes it. Raises UserError."""
    from lwd_core.storage.relative import plain

    if not plain(name) or _NO_KEY in name:
        raise UserError(f"site {name!r}: not a name; use letters, digits, '-', '_' and single dots")
    return name


def partition(day: str, site: str) -> Cell:
    """The partition of a day and site of the landing zone. Raises UserError where they are none."""
    if not day or not site:
        raise UserError("its path doesn't say <site>/<day>/<robot>/")
    if not DAYS.has_partition_key(day):
        raise UserError(f"day {day} is not between {DAYS.start:%Y-%m-%d} and today")
    return Cell(day, valid_site(site))
