"""Erasure: an episode's bytes leave raw logs, tables, frames, snapshots and histories; the rest stays.

The plan is written down first and struck out last: killed anywhere, the next erasure finishes it.
Nothing is left that could bring the episode back: its raw logs stay known by their digest, so that a
robot's repeated upload is not taken in again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake import purge
from lwd_core.lake.frames import rewritten
from lwd_core.lake.place import open_place
from lwd_core.lake.search import Needles, needles_of
from lwd_core.lake.store import Lake
from lwd_core.lineage import impact
from storage_schemas.tables import LOGS, STEPS
from storage_schemas.vocabulary import SnapshotState

PENDING, MOVED = ".pending.json", ".moved.json"

# shard -> (new shard, new offset of each kept frame by its old one)
Moved = dict[str, tuple[str, dict[int, int]]]

# (digest of a snapshot, erased episodes, moved frames): withdraws it, deletes its bytes, returns the digest
# of the same snapshot without the episodes, None if nothing would be left. Finishes what was interrupted.
Reissue = Callable[[str, frozenset[str], Moved], str | None]


@dataclass(frozen=True)
class Plan:
    """What an erasure takes away and what it touches.

    ``raw`` are (uri, bytes) of raw logs deleted whole, ``siblings`` episodes of the same logs that stay,
    ``shards`` frame shards that go or are written anew, ``snapshots`` digests to be withdrawn, ``policies``
    those trained on the episodes, directly or through a parent.
    """

    episodes: tuple[str, ...]
    logs: tuple[str, ...]
    raw: tuple[tuple[str, int], ...]
    siblings: tuple[str, ...]
    steps: int
    shards: tuple[str, ...]
    snapshots: tuple[str, ...]
    policies: tuple[str, ...]
    needles: tuple[str, ...]

    @property
    def token(self) -> str:
        """Name of the plan; says nothing of the episodes."""
        return hashlib.sha256("\n".join(self.episodes).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Erased:
    """An erasure done: its plan, and the successor of each withdrawn snapshot."""

    plan: Plan
    successors: Mapping[str, str | None]


def plan(lake: Lake, episodes: Sequence[str], *, whole_log: bool = False) -> Plan:
    """What erasing these episodes means; changes nothing.

    ``whole_log`` takes their logs' other episodes too. Raises ``UserError`` for an unknown episode.
    """
    ids = sorted(set(episodes))
    rows = lake.read(
        "episodes", columns=["episode_id", "log_id"], where="list_contains(?, episode_id)", params=[ids]
    ).to_pylist()
    missing = set(ids) - {row["episode_id"] for row in rows}
    if missing:
        raise UserError(f"episode {min(missing)}: not in the lake; list them with `lwd sql`")
    logs = sorted({row["log_id"] for row in rows})
    of_logs = lake.read(
        "episodes", columns=["episode_id"], where="list_contains(?, log_id)", params=[logs]
    ).to_pylist()
    all_ids = sorted(row["episode_id"] for row in of_logs)
    ids = all_ids if whole_log else ids
    raw = lake.read(
        "logs", columns=["uri", "bytes"], where="list_contains(?, log_id)", params=[logs]
    ).to_pylist()
    frames = lake.sql(
        "SELECT DISTINCT f.shard "
        "FROM (SELECT unnest(frames) f FROM steps WHERE list_contains(?, episode_id))",
        [ids],
    )
    shards = sorted(frames["shard"].to_pylist())
    return Plan(
        episodes=tuple(ids),
        logs=tuple(logs),
        raw=tuple((row["uri"], row["bytes"]) for row in raw),
        siblings=tuple(sorted(set(all_ids) - set(ids))),
        steps=lake.sql("SELECT count(*) n FROM steps WHERE list_contains(?, episode_id)", [ids])["n"][
            0
        ].as_py(),
        shards=tuple(shards),
        snapshots=_snapshots(lake, ids, all_ids if shards else ids),
        policies=tuple(sorted({p for i in ids for p in impact(lake, i).policies["policy_id"].to_pylist()})),
        needles=needles_of(lake, ids),
    )


def _snapshots(lake: Lake, ids: Sequence[str], of_logs: Sequence[str]) -> tuple[str, ...]:
    """Snapshots that hold one of the episodes, or point into a frame shard that will be written anew."""
    found = lake.sql(
        "SELECT DISTINCT digest FROM snapshot_members JOIN snapshots USING (digest) "
        "WHERE list_contains($1, episode_id) "
        "OR (list_contains($2, episode_id) AND json_array_length(spec, '$.cameras') > 0)",
        [list(ids), list(of_logs)],
    )
    return tuple(sorted(found["digest"].to_pylist()))


def pending(lake: Lake) -> list[Plan]:
    """Erasures begun and not finished."""
    folder = lake.path("erasures")
    if not lake.fs.exists(folder):
        return []
    found = [p for p in lake.fs.find(folder) if p.endswith(PENDING)]
    return [_read(json.loads(lake.place.read(lake.place.relative(path)))) for path in sorted(found)]


def _read(said: dict[str, Any]) -> Plan:
    lists = {name: tuple(value) for name, value in said.items() if name not in ("raw", "steps")}
    return Plan(raw=tuple((uri, size) for uri, size in said["raw"]), steps=said["steps"], **lists)


def erase(lake: Lake, what: Plan, *, reissue: Reissue, now_ns: int, pages: str) -> Erased:
    """Carry out a plan, from the start or from wherever it was interrupted.

    ``pages`` is where reports lie. All HTML there goes: figures and films show episodes in a form that no
    search of bytes would find, and every page can be made anew from the lake.
    """
    note = f"{what.token}{PENDING}"
    with lake.place.write("erasures", note) as stream:
        stream.write(json.dumps(asdict(what)).encode())
    ids = list(what.episodes)
    _raw(lake, what, now_ns)
    nothing = {name: lake.read(name, where="false") for name in ("episodes", "labels", "segments")}
    for table, rows in nothing.items():
        lake.replace(table, rows, {"episode_id": ids})
    moved = _moved(lake, what)
    _steps(lake, what, moved)
    successors = {digest: _reissued(lake, digest, what, reissue, moved) for digest in what.snapshots}
    for shard in what.shards:
        lake.place.remove(shard)
    lake.replace("snapshot_members", lake.read("snapshot_members", where="false"), {"episode_id": ids})
    purge.purge(lake, what.episodes)
    _pages(pages)
    record = {
        "erased_ns": now_ns,
        "episodes": len(ids),
        "steps": what.steps,
        "raw_bytes": sum(size for _, size in what.raw),
        "snapshots": successors,
        "policies": what.policies,
    }
    with lake.place.write("erasures", f"{what.token}.json") as stream:
        stream.write(json.dumps(record, indent=1).encode())
    lake.place.remove("erasures", what.token + MOVED)
    lake.place.remove("erasures", note)
    return Erased(what, successors)


def needles(what: Plan) -> Needles:
    """What must not be found anywhere any more."""
    return Needles(what.episodes, tuple(bytes.fromhex(n) for n in what.needles))


def _raw(lake: Lake, what: Plan, now_ns: int) -> None:
    """Raw logs: remembered by digest, then deleted with the digest beside them."""
    rows = lake.read("logs", where="list_contains(?, log_id)", params=[list(what.logs)])
    reason = pa.repeat(pa.scalar(f"erased at {now_ns} ns"), rows.num_rows)
    rows = rows.set_column(LOGS.names.index("reason"), "reason", reason)
    lake.replace("logs", rows, {"log_id": list(what.logs)})
    for uri, _ in what.raw:
        place = open_place(uri)
        for path in (uri, uri + ".sha256"):
            if place.fs.exists(path):
                place.fs.rm(path, recursive=True)


def _pages(root: str) -> None:
    place = open_place(root)
    if place.exists():
        for path in place.fs.find(place.root):
            if path.endswith(".html"):
                place.remove(place.relative(path))


def _moved(lake: Lake, what: Plan) -> Moved:
    """Write the siblings' frames to new shards; noted down, because afterwards it can't be found out."""
    note = what.token + MOVED
    if lake.place.exists("erasures", note):
        said = json.loads(lake.place.read("erasures", note))
        return {old: (new, {int(a): b for a, b in offsets.items()}) for old, (new, offsets) in said.items()}
    keep: dict[str, set[int]] = {}
    for shown in _of_siblings(lake, what)["frames"].to_pylist() if what.shards else ():
        for frame in shown or ():
            keep.setdefault(frame["shard"], set()).add(frame["offset"])
    moved: Moved = {}
    for shard in what.shards:
        if shard in keep:
            new = shard.removesuffix(".tar") + f"-{what.token}.tar"
            moved[shard] = (new, rewritten(lake.place, shard, new, keep[shard].__contains__))
    with lake.place.write("erasures", note) as stream:
        stream.write(json.dumps(moved).encode())
    return moved


def _of_siblings(lake: Lake, what: Plan) -> pa.Table:
    return lake.read("steps", where="list_contains(?, episode_id)", params=[list(what.siblings)])


def _steps(lake: Lake, what: Plan, moved: Moved) -> None:
    """Drop the erased steps and, in the same commit, point the siblings' to where their frames lie now."""
    if not moved:
        lake.replace("steps", lake.read("steps", where="false"), {"episode_id": list(what.episodes)})
        return
    rows = _of_siblings(lake, what)
    frames = [shown and [_at(f, moved) for f in shown] for shown in rows["frames"].to_pylist()]
    column = pa.array(frames, STEPS.schema.field("frames").type)
    rows = rows.set_column(STEPS.names.index("frames"), "frames", column)
    lake.replace("steps", rows, {"episode_id": [*what.episodes, *what.siblings]})


def _at(frame: dict[str, Any], moved: Moved) -> dict[str, Any]:
    if frame["shard"] not in moved:
        return frame
    shard, offsets = moved[frame["shard"]]
    return frame | {"shard": shard, "offset": offsets[frame["offset"]]}


def _reissued(lake: Lake, digest: str, what: Plan, reissue: Reissue, moved: Moved) -> str | None:
    facts = lake.read("snapshots", where="digest = ?", params=[digest]).to_pylist()[0]
    if facts["state"] == SnapshotState.WITHDRAWN and not lake.fs.exists(facts["uri"]):
        return facts["successor"]
    return reissue(digest, frozenset(what.episodes), moved)
