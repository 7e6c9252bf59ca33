"""A person's query, at a version or moment of the past, fenced in."""

from datetime import UTC, datetime

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake import query
from lwd_core.lake.history import committed
from lwd_core.lake.read_only import admit
from lwd_core.lake.store import Lake


def versions_as_of(lake: Lake, as_of: str) -> dict[str, int]:
    """Table versions at ``as_of``: a version of table ``episodes``, or a UTC time in ISO form.

    With a version, other tables are taken as they were when it was committed. Raises ``UserError`` for
    what is neither, and for a time before the lake.
    """
    if as_of.isdecimal():
        version = int(as_of)
        moment = committed(lake.place, "episodes", version)
        if moment is None:
            newest = lake.version("episodes")
            raise UserError(f"--as-of {version}: no such version or erased; the newest is {newest}")
        return lake.versions_at(moment) | {"episodes": version}
    try:
        moment = datetime.fromisoformat(as_of)
    except ValueError:
        raise UserError(f"--as-of {as_of!r} is no version and no time; write 12 or 2026-01-01T12") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    versions = lake.versions_at(moment)
    if "episodes" not in versions:
        raise UserError(f"--as-of {as_of}: the lake is younger; name a later time")
    return versions


def ask(lake: Lake, statement: str, as_of: str = "") -> pa.Table:
    """The rows of a query that can read the lake's files and nothing else, and writes nothing.

    Raises ``UserError`` with DuckDB's words where the query is wrong, and for one that does more than read.
    """
    versions = versions_as_of(lake, as_of) if as_of else lake.versions()
    try:
        with lake.connect(versions) as con:
            query.fence(con, [f for name, version in versions.items() for f in lake.files(name, version)])
            admit(con, statement)
            return query.run(con, statement)
    except query.Wrong as error:
        hint = "; files of old versions may be vacuumed, name a newer one" if as_of else ""
        raise UserError(f"query: {error}{hint}") from None
