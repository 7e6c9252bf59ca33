"""What has landed and is not in the lake yet: the question that a missed notice can't falsify."""

from lwd_core.lake.place import open_place
from lwd_core.lake.received import receive
from lwd_core.lake.store import Lake


def waiting(lake: Lake, landing: str) -> dict[tuple[str, str], list[str]]:
    """Addresses of the logs in the landing zone that ``logs`` has no row of, by (day, site).

    A log that has changed its size since counts as new. Logs outside ``<site>/<day>/<robot>/`` belong
    to no partition and are left to `lwd ingest`. An absent landing zone holds nothing.
    """
    place = open_place(landing)
    if not place.exists():
        return {}
    rows = lake.read("logs", columns=["uri", "bytes"]).to_pylist()
    known = {(row["uri"], row["bytes"]) for row in rows}
    found: dict[tuple[str, str], list[str]] = {}
    for log in receive([landing], landing):
        if log.site and log.day and log.robot and (log.uri, log.bytes) not in known:
            found.setdefault((log.day, log.site), []).append(log.uri)
    return found
