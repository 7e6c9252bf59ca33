"""Every byte received accounted for: what each robot sent on each day, and what became of it.

What lies in the landing zone is counted by a plain walk of its own, so that what ingest can't see is seen.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from lwd_core.ingest.walk import shown
from lwd_core.lake import addresses
from lwd_core.lake.store import Lake
from lwd_core.storage.location import Location, open_location
from storage_schemas.vocabulary import LogState

_STATES = tuple(LogState)
RECONCILE = f"""
SELECT day, site, robot_id,
       count(*) AS files, sum(bytes)::BIGINT AS bytes,
       {", ".join(f"count(*) FILTER (state = '{s}') AS {s}" for s in _STATES)},
       {", ".join(f"coalesce(sum(bytes) FILTER (state = '{s}'), 0)::BIGINT AS {s}_bytes" for s in _STATES)}
FROM logs GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Unaccounted:
    """What lies at an address of the landing zone and what the lake knows of it, in bytes.

    ``uri`` is the address as rows hold it, ``known`` is None where the lake has no row of it.
    """

    uri: str
    bytes: int
    known: int | None = None


def reconcile(lake: Lake) -> pa.Table:
    """Files and bytes by day, site and robot, in all and by state."""
    return lake.sql(RECONCILE)


def unaccounted(lake: Lake, landing: str, under: Iterable[str] = ("",)) -> list[Unaccounted]:
    """Files of the landing zone that no row accounts for, and logs of other bytes than their row says: still
    to be taken in, or lost.

    A file is accounted for by the row of its address or of the nearest folder above it. Hidden names, uploads
    under way and digests beside logs are none of a log. ``under`` names folders of the landing zone to look
    at.
    """
    rows = addresses.logs(lake, landing, ["created_ns"], f"state <> '{LogState.SUPERSEDED}'")
    known = {row["uri"]: row["bytes"] for row in sorted(rows, key=lambda row: row["created_ns"])}
    lying: dict[str, int] = {}
    for folder in under:
        for place, size in _lying(open_location(landing), folder):
            owner = next((above for above in _and_above(place) if above in known), place)
            lying[owner] = lying.get(owner, 0) + size
    found = [Unaccounted(place, size, known.get(place)) for place, size in sorted(lying.items())]
    return [log for log in found if log.known != log.bytes]


def _lying(place: Location, under: str) -> Iterator[tuple[str, int]]:
    """Every file of a folder of a place, relative to the place, and its bytes; what is no file has none."""
    top = place.path(under) if under else place.root
    if place.remote:
        bare = str(place.fs._strip_protocol(place.root)).rstrip("/") + "/"
        for path, info in place.fs.find(top, detail=True, withdirs=False).items():
            if not _aside(path.removeprefix(bare)):
                yield path.removeprefix(bare), info.get("size") or 0
        return
    for folder, _, names in os.walk(top):
        below = os.path.relpath(folder, place.root)
        for name in names:
            path = name if below == "." else f"{below}/{name}"
            full = f"{folder}/{name}"
            if _aside(path) or (os.path.islink(full) and os.path.exists(full)):
                continue
            yield shown(path), os.path.getsize(full) if os.path.isfile(full) else 0


def _aside(path: str) -> bool:
    return path.endswith((".sha256", ".tmp")) or any(part.startswith(".") for part in path.split("/"))


def _and_above(place: str) -> Iterator[str]:
    """An address, the database it is a part of, and the folders above it."""
    yield place
    if ".db3-" in place:
        yield place.rpartition("-")[0]
    while "/" in place:
        place = place.rpartition("/")[0]
        yield place


def quarantine(lake: Lake, newest: int = 3) -> tuple[int, tuple[tuple[str, str], ...]]:
    """How many logs are in quarantine, and the newest of them by address and reason."""
    rows = lake.sql(
        "SELECT uri, coalesce(reason, '') AS reason, count(*) OVER () AS n FROM logs "
        "WHERE state = 'quarantined' ORDER BY created_ns DESC, uri LIMIT ?",
        (newest,),
    ).to_pylist()
    return (rows[0]["n"] if rows else 0), tuple((row["uri"], row["reason"]) for row in rows)


def quarantined(lake: Lake) -> frozenset[tuple[str, str]]:
    """(log_id, uri) of the logs in quarantine."""
    rows = lake.read("logs", columns=["log_id", "uri"], where=f"state = '{LogState.QUARANTINED}'").to_pylist()
    return frozenset((row["log_id"], row["uri"]) for row in rows)
