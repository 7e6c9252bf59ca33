"""The address of a raw log in the rows of ``logs``: its path within the landing zone, else in full.

Rows of earlier versions hold full addresses, and those of a copied home hold the addresses of the home it was
copied from. They are read as what they mean here, and written anew by the next ingest.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from lwd_core.lake.store import Lake
from lwd_core.logs.source import LogSource
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import relative, stored
from storage_schemas.tables import LOGS

#: What an address is read from.
NEEDED = ("log_id", "uri", "bytes", "site", "day", "robot_id")


def addresses(landing: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What rows of ``logs`` mean by ``uri``: its path within the landing zone wherever the log lies in it.

    The rows have the columns ``NEEDED`` and are all rows of their logs. A full address elsewhere stays as it
    is, unless this landing zone holds a log of as many bytes under the same site, day, robot and name, and no
    row says so: then the row came here with a copy of the whole home.
    """
    said = {(row["log_id"], row["uri"]) for row in rows}
    found = []
    for row in rows:
        inside = row["uri"] if relative(row["uri"]) else stored(landing, row["uri"])
        if not relative(inside):
            own = _copied(landing, row)
            inside = own if own and (row["log_id"], own) not in said else inside
        found.append(inside)
    return found


def _copied(landing: str, row: Mapping[str, Any]) -> str | None:
    _, cut, name = row["uri"].rpartition(f"/{row['site']}/{row['day']}/{row['robot_id']}/")
    if not cut or not name or ".." in name.split("/"):
        return None
    own, place = cut[1:] + name, open_location(landing)
    return own if place.exists(own) and LogSource(place.path(own)).size == row["bytes"] else None


def logs(
    lake: Lake, landing: str, columns: Collection[str] = (), where: str = "true"
) -> list[dict[str, Any]]:
    """Rows of ``logs``, ``NEEDED`` and other columns, with ``uri`` as the stored address each means here."""
    rows = lake.read("logs", columns=list(dict.fromkeys([*NEEDED, *columns])), where=where).to_pylist()
    return [row | {"uri": uri} for row, uri in zip(rows, addresses(landing, rows), strict=True)]


def renew(lake: Lake, landing: str) -> None:
    """Write anew the addresses that an earlier version wrote; where there is none, nothing is written."""
    rows = lake.read("logs", columns=NEEDED, where="uri[1] = '/' OR contains(uri, '://')").to_pylist()
    moved = {
        (row["log_id"], row["uri"]): uri
        for row, uri in zip(rows, addresses(landing, rows), strict=True)
        if uri != row["uri"]
    }
    if not moved:
        return
    old = sorted({uri for _, uri in moved})

    def plan(version: int) -> pa.Table:
        there = lake.read("logs", where="list_contains(?, uri)", params=[old], versions={"logs": version})
        ids = sorted({log_id for log_id, _ in moved})
        named = lake.read("logs", columns=["log_id", "uri"], where="list_contains(?, log_id)", params=[ids],
                          versions={"logs": version}).to_pylist()  # fmt: skip
        said = {(row["log_id"], row["uri"]) for row in named}
        rows = []
        for row in there.to_pylist():
            new = moved.get((row["log_id"], row["uri"]), row["uri"])
            rows.append(row if (row["log_id"], new) in said else row | {"uri": new})
        return pa.Table.from_pylist(rows, schema=LOGS.schema)

    lake.settle("logs", plan, {"uri": old})
