"""Erasure: an episode's bytes leave raw logs, tables, frames, snapshots and histories; the rest stays.

First of all its tombstone is written (see there), so that nothing under way brings it back. Killed
anywhere, the next erasure finishes the plan. It can always be run again, also for an episode the lake
doesn't have any more or never had.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from lwd_core.erasure.pending import note_down
from lwd_core.erasure.plan import Plan, shards_of
from lwd_core.erasure.raw_logs import Fate, RawLog, delete
from lwd_core.erasure.sought import seek
from lwd_core.features import files as features
from lwd_core.lake import vacuum
from lwd_core.lake.kept_frames import Moved, move, offsets, repointed
from lwd_core.lake.same_recording import recordings
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import TABLES_OF_EPISODES, LogStone
from lwd_core.storage.location import open_location
from storage_schemas.tables import LOGS, SNAPSHOTS
from storage_schemas.vocabulary import SnapshotState

MOVED = ".moved.json"
FENCED = (*TABLES_OF_EPISODES, "snapshots")

# (erased episodes, moved frames): withdraws every snapshot that holds one of them or shows a moved frame,
# listed or not, deletes its bytes, and returns by its digest that of the same snapshot without the episodes;
# None if nothing would be left. Finishes what was interrupted.
Reissue = Callable[[frozenset[str], Moved], Mapping[str, str | None]]


@dataclass(frozen=True)
class Erased:
    """An erasure done.

    ``successors`` are by withdrawn snapshot, ``changed`` raw logs that had other bytes when it came to them.
    """

    plan: Plan
    successors: Mapping[str, str | None]
    changed: Sequence[RawLog] = ()


def erase(lake: Lake, what: Plan, *, reissue: Reissue, now_ns: int, pages: str) -> Erased:
    """Carry out a plan, from the start or from wherever it was interrupted.

    ``pages`` is where reports lie. All HTML there goes: figures and films show episodes in a form that no
    search of bytes would find, and every page can be made anew from the lake.
    """
    sizes = {log.log_id: log.bytes for log in what.raw}
    stones = {log: LogStone(sizes.get(log, 0), ranges) for log, ranges in what.ranges.items()}
    contents = recordings(lake, what.episodes)[1]
    lake.tombstones.bury([*what.episodes, *what.shards, *contents], stones)
    note = note_down(lake, what)
    seek(lake, what.token, what.sought)
    for table in FENCED:
        lake.log(table).fence()
    _logs(lake, what, now_ns)
    changed = delete(what.raw)
    ids = list(what.episodes)
    if late := set(shards_of(lake, ids)) - set(what.shards):  # came between plan and fence
        what = replace(what, shards=tuple(sorted({*what.shards, *late})))
        lake.tombstones.bury([*ids, *what.shards, *contents], stones)
        note_down(lake, what)
        lake.log("snapshots").fence()
    for table in ("episodes", "labels", "segments"):
        lake.replace(table, _nothing(lake, table), {"episode_id": ids})
    moved = _moved(lake, what)
    features.follow_frames(lake.place, moved)
    _steps(lake, what, moved)
    successors = dict(reissue(frozenset(ids), moved))
    gone = {*what.shards, *_orphans(lake, what)}
    for shard in gone:
        lake.place.remove(shard)
    features.remove(lake.place, gone)
    _withdraw(lake, ids)
    lake.replace("snapshot_members", _nothing(lake, "snapshot_members"), {"episode_id": ids})
    vacuum.purge(lake, ids)
    _pages(pages)
    deleted = [log for log in what.of(Fate.DELETED) if log not in changed]
    record = {
        "erased_ns": now_ns,
        "episodes": len(ids),
        "steps": what.steps,
        "raw_bytes": sum(log.bytes for log in deleted),
        "raw_left": {str(f): len(what.of(f)) for f in (Fate.SHARED, Fate.ELSEWHERE, Fate.REPLACED)},
        "snapshots": successors,
        "policies": what.policies,
    }
    with lake.place.write("erasures", f"{what.token}.json") as stream:
        stream.write(json.dumps(record, indent=1).encode())
    lake.place.remove("erasures", what.token + MOVED)
    lake.place.remove("erasures", note)
    return Erased(what, successors, changed)


def _nothing(lake: Lake, table: str) -> pa.Table:
    return lake.read(table, where="false")


def _logs(lake: Lake, what: Plan, now_ns: int) -> None:
    """Raw logs stay known by their digest, and say what happened to them."""
    logs = list(what.ranges)

    def said(version: int) -> pa.Table:
        rows = lake.read("logs", where="list_contains(?, log_id)", params=[logs], versions={"logs": version})
        reasons = [
            f"erased at {now_ns} ns" if what.ranges[log] is None else _in_part(reason, now_ns)
            for log, reason in zip(rows["log_id"].to_pylist(), rows["reason"].to_pylist(), strict=True)
        ]
        return rows.set_column(
            LOGS.names.index("reason"), LOGS.schema.field("reason"), pa.array(reasons, pa.string())
        )

    if logs:
        lake.settle("logs", said, {"log_id": logs})


def _in_part(reason: str | None, now_ns: int) -> str:
    before = re.sub(r"(^|; )episodes of it erased, last at \d+ ns$", "", reason or "")
    return "; ".join(filter(None, (before, f"episodes of it erased, last at {now_ns} ns")))


def _pages(root: str) -> None:
    place = open_location(root)
    if place.exists():
        for path in place.fs.find(place.root):
            if path.endswith(".html"):
                place.remove(place.relative(path))


def _moved(lake: Lake, what: Plan) -> Moved:
    """Write the siblings' frames to new shards; noted down, because afterwards it can't be found out."""
    note = what.token + MOVED
    if lake.place.exists("erasures", note):
        said = json.loads(lake.place.read("erasures", note))
        return {old: (new, {int(a): b for a, b in places.items()}) for old, (new, places) in said.items()}
    moved = move(lake.place, what.shards, offsets(_of_siblings(lake, what))) if what.shards else {}
    with lake.place.write("erasures", note) as stream:
        stream.write(json.dumps(moved).encode())
    return moved


def _of_siblings(lake: Lake, what: Plan, version: int | None = None) -> pa.Table:
    versions = None if version is None else {"steps": version}
    return lake.read(
        "steps", where="list_contains(?, episode_id)", params=[list(what.siblings)], versions=versions
    )


def _steps(lake: Lake, what: Plan, moved: Moved) -> None:
    """Drop the erased steps and, in the same commit, point the siblings' to where their frames lie now."""
    if not moved:
        lake.replace("steps", _nothing(lake, "steps"), {"episode_id": list(what.episodes)})
        return
    lake.settle(
        "steps",
        lambda version: repointed(_of_siblings(lake, what, version), moved),
        {"episode_id": [*what.episodes, *what.siblings]},
    )


def _orphans(lake: Lake, what: Plan) -> list[str]:
    """Frame shards of logs that are gone whole which no row shows: of an ingest cut off, or under way."""
    starts = tuple(log[:32] for log, ranges in what.ranges.items() if ranges is None)
    if not starts or not lake.place.exists("frames"):
        return []
    paths = [lake.place.relative(path) for path in lake.fs.find(lake.path("frames"))]
    return [path for path in paths if path.rsplit("/", 1)[-1].startswith(starts) and path.endswith(".tar")]


def _withdraw(lake: Lake, episodes: Sequence[str]) -> None:
    """Listed snapshots with one of the episodes whose bytes are already gone: not valid any more."""

    def withdrawn(version: int) -> pa.Table:
        rows = lake.sql(
            "SELECT * FROM snapshots WHERE state <> ? AND digest IN "
            "(SELECT digest FROM snapshot_members WHERE list_contains(?, episode_id))",
            [SnapshotState.WITHDRAWN.value, list(episodes)],
            versions={"snapshots": version},
        ).to_pylist()
        digests.extend(row["digest"] for row in rows)
        return pa.Table.from_pylist(
            [row | {"state": SnapshotState.WITHDRAWN.value} for row in rows], schema=SNAPSHOTS.schema
        )

    digests: list[str] = []
    version = lake.version("snapshots")
    rows = withdrawn(version) if version is not None else SNAPSHOTS.schema.empty_table()
    if rows.num_rows:
        lake.settle("snapshots", withdrawn, {"digest": sorted(set(digests))})
