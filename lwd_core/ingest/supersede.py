"""What a log means for those that were at its address before: the same address with other bytes supersedes.

A digest's episodes stay as long as some address still holds its bytes; the first of those then owns them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.lake.rewrite import holds
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import LogState

TAKEN = (LogState.ACCEPTED, LogState.SALVAGED)
# what a log's content gave its row: goes over to the row that owns it from now on
_OF_CONTENT = ("format", "state", "reason", "messages", "messages_lost", "episodes", "embodiment")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Settled:
    """Rows of ``logs`` after some were received: all, those received, and those superseded by them.

    ``leaving`` are the digests whose episodes go.
    """

    rows: list[dict[str, Any]]
    made: list[dict[str, Any]]
    superseded: list[dict[str, Any]]
    leaving: frozenset[str]


def settle(there: Iterable[Row], made: Sequence[Row]) -> Settled:
    """The rows that stand once ``made`` have come to those that are ``there``.

    ``there`` holds every row at the addresses of ``made``, and of the digests at them. A log that can't be
    read supersedes none that could: what was learned of it stays.
    """
    rows = {(row["log_id"], row["uri"]): dict(row) for row in there}
    before = {key: dict(row) for key, row in rows.items()}
    superseded, arrived = [], []
    for new in made:
        for key, row in rows.items():
            if key[1] != new["uri"] or key[0] == new["log_id"] or row["state"] == LogState.SUPERSEDED:
                continue
            if new["state"] == LogState.QUARANTINED and row["state"] != LogState.QUARANTINED:
                continue
            row |= {"state": str(LogState.SUPERSEDED), "superseded_by": new["log_id"]}
            superseded.append(row)
        rows[new["log_id"], new["uri"]] = dict(new)
        arrived.append(rows[new["log_id"], new["uri"]])
    leaving = set()
    for log_id in {key[0] for key, row in before.items() if row["state"] in TAKEN}:
        own = [row for key, row in sorted(rows.items()) if key[0] == log_id]
        if any(row["state"] in TAKEN for row in own):
            continue
        heir = next((row for row in own if row["state"] == LogState.DUPLICATE), None)
        if heir is None:
            leaving.add(log_id)
            continue
        owner = next(row for key, row in before.items() if key[0] == log_id and row["state"] in TAKEN)
        heir |= {name: owner[name] for name in _OF_CONTENT}
    return Settled(list(rows.values()), arrived, superseded, frozenset(leaving))


def rows_at(lake: Lake, version: int, uris: Sequence[str], ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of ``logs`` of these digests and of those at these addresses, wherever they lie."""
    where = "list_contains($1, log_id) OR log_id IN (SELECT log_id FROM logs WHERE list_contains($2, uri))"
    found = lake.read("logs", where=where, params=[list(ids), list(uris)], versions={"logs": version})
    return found.to_pylist()


def carry_labels(lake: Lake, leaving: Sequence[str], arriving: pa.Table) -> None:
    """Give the labels of episodes that leave to arriving ones of the same content, before these are seen.

    ``arriving`` are rows of ``episodes``. What has no heir stays as rows of the old episode, out of sight.
    """
    old = lake.read(
        "episodes",
        columns=["episode_id", "content"],
        where="list_contains(?, log_id)",
        params=[list(leaving)],
    )
    heir = pc.index_in(old["content"], arriving["content"].combine_chunks(), skip_nulls=True)
    old, heir = old.filter(pc.is_valid(heir)), heir.drop_null()
    if not old.num_rows:
        return
    labels = lake.read("labels", where="list_contains(?, episode_id)", params=[old["episode_id"].to_pylist()])
    if not labels.num_rows:
        return
    which = heir.take(pc.index_in(labels["episode_id"], old["episode_id"].combine_chunks()))
    for name in ("episode_id", "log_id", "site", "day"):
        labels = labels.set_column(LABELS.names.index(name), name, arriving[name].take(which))
    lake.replace("labels", labels, {"episode_id": pc.unique(labels["episode_id"]).to_pylist()})


def sweep(lake: Lake, leaving: Sequence[str]) -> None:
    """Take the rows of superseded logs out of the newest versions; older versions still hold them."""
    ids = list(leaving)
    for table in ("episodes", "steps", "segments"):
        version = lake.version(table)
        if version is not None and holds(lake, table, version, "log_id", ids):
            lake.replace(table, lake.read(table, where="false"), {"log_id": ids})
