"""Every byte received accounted for: what each robot sent on each day, and what became of it."""

import pyarrow as pa

from lwd_core.lake.received import Received, receive
from lwd_core.lake.store import Lake

RECONCILE = """
SELECT day, site, robot_id,
       count(*) AS files, sum(bytes)::BIGINT AS bytes,
       count(*) FILTER (state = 'accepted') AS accepted,
       count(*) FILTER (state = 'duplicate') AS duplicate,
       count(*) FILTER (state = 'salvaged') AS salvaged,
       count(*) FILTER (state = 'quarantined') AS quarantined,
       coalesce(sum(bytes) FILTER (state = 'accepted'), 0)::BIGINT AS accepted_bytes,
       coalesce(sum(bytes) FILTER (state = 'duplicate'), 0)::BIGINT AS duplicate_bytes,
       coalesce(sum(bytes) FILTER (state = 'salvaged'), 0)::BIGINT AS salvaged_bytes,
       coalesce(sum(bytes) FILTER (state = 'quarantined'), 0)::BIGINT AS quarantined_bytes
FROM logs GROUP BY ALL ORDER BY ALL
"""


def reconcile(lake: Lake) -> pa.Table:
    """Files and bytes by day, site and robot, in all and by state."""
    return lake.sql(RECONCILE)


def unaccounted(lake: Lake, landing: str) -> list[Received]:
    """Logs in the landing zone the lake has no row of, by name and size: still to be taken in, or lost."""
    rows = lake.read("logs", columns=["uri", "bytes"]).to_pylist()
    known = {(row["uri"], row["bytes"]) for row in rows}
    return [log for log in receive([landing], landing) if (log.uri, log.bytes) not in known]


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
    rows = lake.read("logs", columns=["log_id", "uri"], where="state = 'quarantined'").to_pylist()
    return frozenset((row["log_id"], row["uri"]) for row in rows)
