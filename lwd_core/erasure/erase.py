"""Erasure: an episode's bytes leave raw logs, tables, frames, snapshots and histories; the rest stays.

First of all its tombstone is written (see there), so that nothing under way brings it back. The plan is
written down too and struck out last: killed anywhere, the next erasure finishes it. It can always be run
again, also for an episode the lake doesn't have any more or never had.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.erasure.raw_logs import Fate, RawLog, copies, delete, fate, raw_path
from lwd_core.erasure.search import Needles, needles_of, unrecognised
from lwd_core.errors import StorageError, UserError
from lwd_core.lake import rewrite, vacuum
from lwd_core.lake.kept_frames import Moved, move, offsets, repointed
from lwd_core.lake.same_recording import recordings
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import TABLES_OF_EPISODES, LogStone, Ranges, apart
from lwd_core.lineage import impact
from lwd_core.storage.location import open_location
from storage_schemas.tables import LOGS, SNAPSHOTS
from storage_schemas.vocabulary import SnapshotState

PENDING, MOVED, SOUGHT = ".pending.json", ".moved.json", ".sought.json"
EPISODE_ID = re.compile(r"[0-9a-f]{32}")
FENCED = (*TABLES_OF_EPISODES, "snapshots")

# (erased episodes, moved frames): withdraws every snapshot that holds one of them or shows a moved frame,
# listed or not, deletes its bytes, and returns by its digest that of the same snapshot without the episodes;
# None if nothing would be left. Finishes what was interrupted.
Reissue = Callable[[frozenset[str], Moved], Mapping[str, str | None]]


@dataclass(frozen=True)
class Plan:
    """What an erasure takes away and what it touches.

    ``unknown`` are those of the episodes that the lake doesn't have, ``before`` those of them that an
    earlier erasure took. ``ranges`` are by log the message ranges that go, None: all. ``also`` are paths that
    the caller named, ``siblings`` episodes of the same logs that stay, ``shards`` frame shards that go or are
    written anew, ``snapshots`` digests to be withdrawn, ``policies`` those trained on the episodes, directly
    or through a parent. ``needles`` and ``numbers`` are what the proof of absence looks for, ``unseen`` what
    of a log, by its path, it can't see.
    """

    episodes: tuple[str, ...]
    unknown: tuple[str, ...]
    before: tuple[str, ...]
    ranges: Mapping[str, Ranges | None]
    raw: tuple[RawLog, ...]
    also: tuple[str, ...]
    siblings: tuple[str, ...]
    steps: int
    shards: tuple[str, ...]
    snapshots: tuple[str, ...]
    policies: tuple[str, ...]
    needles: tuple[str, ...]
    numbers: tuple[str, ...]
    unseen: Mapping[str, Sequence[str]]

    @property
    def token(self) -> str:
        """Name of the plan; says nothing of the episodes."""
        return hashlib.sha256("\n".join(self.episodes).encode()).hexdigest()[:16]

    @property
    def logs(self) -> tuple[str, ...]:
        """Ids of the logs the episodes are from."""
        return tuple(self.ranges)

    def of(self, *fates: Fate) -> list[RawLog]:
        """The raw logs that meet one of these fates."""
        return [log for log in self.raw if log.fate in fates]


@dataclass(frozen=True)
class Erased:
    """An erasure done.

    ``successors`` are by withdrawn snapshot, ``changed`` raw logs that had other bytes when it came to them.
    """

    plan: Plan
    successors: Mapping[str, str | None]
    changed: Sequence[RawLog] = ()


def plan(
    lake: Lake,
    landing: str,
    episodes: Sequence[str],
    *,
    whole_log: bool = False,
    also_delete: Collection[str] = (),
) -> Plan:
    """What erasing these episodes means; changes nothing.

    ``whole_log`` takes their logs' other episodes too. ``also_delete`` are paths of raw logs to delete
    although they lie outside the landing zone, or hold episodes that stay. Raises ``UserError`` for what is
    no episode id and for a path that is none of their raw logs.
    """
    # the same recording under other names would bring it back: copies, and what a grown set superseded
    ids, wanted = sorted(recordings(lake, episodes)[0]), {open_location(path).root for path in also_delete}
    columns = ["episode_id", "log_id", "first_message", "last_message"]
    found = lake.read("episodes", columns=columns, where="list_contains(?, episode_id)", params=[ids])
    unknown = sorted(set(ids) - set(found["episode_id"].to_pylist()))
    for episode in unknown:
        if not EPISODE_ID.fullmatch(episode):
            raise UserError(
                f"episode {episode}: not in the lake, and no episode id; `lwd episode list` shows them"
            )
    before = lake.tombstones.buried(unknown)
    logs = sorted({*found["log_id"].to_pylist(), *_left_of(lake, unknown)})
    there = lake.read(
        "episodes", columns=columns, where="list_contains(?, log_id)", params=[logs]
    ).to_pylist()
    if whole_log:
        ids = sorted({*ids, *(row["episode_id"] for row in there)})
    staying = [row for row in there if row["episode_id"] not in ids]
    ranges = {log: _ranges(lake, log, there, staying) for log in logs}
    raw = _raw_logs(lake, landing, ranges, wanted, before)
    siblings = tuple(sorted(row["episode_id"] for row in staying))
    shards = _shards(lake, ids)
    needles = _with_sought(lake, needles_of(lake, ids))
    return Plan(
        episodes=tuple(ids),
        unknown=tuple(unknown),
        before=tuple(sorted(before)),
        ranges=ranges,
        raw=tuple(raw),
        also=tuple(sorted(wanted)),
        siblings=siblings,
        steps=lake.sql("SELECT count(*) n FROM steps WHERE list_contains(?, episode_id)", [ids])["n"][
            0
        ].as_py(),
        shards=shards,
        snapshots=_snapshots(lake, ids, [*ids, *siblings] if shards else ids),
        policies=_policies(lake, sorted(set(ids) - set(unknown))),
        needles=tuple(piece.hex() for piece in needles.pieces),
        numbers=tuple(run.hex() for run in needles.numbers),
        unseen={log.path: kinds for log in _one_each(raw) if (kinds := unrecognised(log.path, needles))},
    )


def _one_each(raw: Sequence[RawLog]) -> list[RawLog]:
    """One file for each log of which there is one."""
    there = (Fate.DELETED, Fate.SHARED, Fate.ELSEWHERE)
    return list({log.log_id: log for log in raw if log.fate in there}.values())


def _left_of(lake: Lake, episodes: Sequence[str]) -> set[str]:
    """Logs of episodes that aren't in the lake, by rows that were left behind out of sight."""
    logs: set[str] = set()
    for table in TABLES_OF_EPISODES if episodes else ():
        version = lake.version(table)
        for file in [] if version is None else lake.log(table).candidates(version, {"episode_id": episodes}):
            if rewrite.distinct(lake, table, file, "episode_id").isdisjoint(episodes):
                continue
            rows = vacuum.columns(lake, f"tables/{table}/{file.path}", ["episode_id", "log_id"])
            logs |= set(rows.filter(pc.is_in(rows["episode_id"], pa.array(episodes)))["log_id"].to_pylist())
    return logs


def _policies(lake: Lake, episodes: Sequence[str]) -> tuple[str, ...]:
    found = (impact(lake, episode).policies["policy_id"].to_pylist() for episode in episodes)
    return tuple(sorted({policy for policies in found for policy in policies}))


def _ranges(lake: Lake, log: str, there: list[dict], staying: list[dict]) -> Ranges | None:
    """The messages of the log that go, without those that episodes that stay have too; None: all."""
    of_log = [row for row in there if row["log_id"] == log]
    if not of_log:  # what else is in a log that left only rows out of sight, nobody knows
        stone = lake.tombstones.logs([log]).get(log)
        return None if stone is not None and stone.ranges is None else []
    stays = [(row["first_message"], row["last_message"]) for row in of_log if row in staying]
    goes = [(row["first_message"], row["last_message"]) for row in of_log if row not in staying]
    return apart(goes, stays) if stays else None


def _raw_logs(
    lake: Lake,
    landing: str,
    ranges: dict[str, Ranges | None],
    also: Collection[str],
    before: Collection[str] = (),
    *,
    strict: bool = True,
) -> list[RawLog]:
    """Every file that holds one of the logs: where it was received, and copies under any name in landing.

    Logs that ``before``, episodes erased earlier, are from, and whose bytes are there, join ``ranges``.
    """
    rows = lake.read("logs", columns=["uri", "bytes", "log_id"]).to_pylist()
    known = {(raw_path(landing, row["uri"]), row["log_id"]): row["bytes"] for row in rows}
    earlier = lake.tombstones.erased_with(before)
    sizes = {size for (_, log), size in known.items() if log in ranges} | earlier.sizes()
    paths = {path for path, log in known if log in ranges}
    known |= {(path, log): size for path, log, size in copies(landing, sizes, paths)}
    gone = earlier.logs({log for _, log in known} - set(ranges))
    back = {log for path, log in known if log in gone and open_location(path).exists()}
    ranges |= {log: stone.ranges for log, stone in lake.tombstones.logs(back).items()}
    named = {key: size for key, size in known.items() if key[1] in ranges}
    if strict and (missing := sorted(set(also) - {path for path, _ in named})):
        listed = ", ".join(sorted(path for path, _ in named)) or "none is known"
        raise UserError(f"--also-delete {missing[0]}: no raw log of these episodes; theirs: {listed}")
    return [
        RawLog(path, log_id, size, fate(landing, path, log_id, shared=ranges[log_id] is not None, also=also))
        for (path, log_id), size in sorted(named.items())
    ]


def _shards(lake: Lake, episodes: Sequence[str]) -> tuple[str, ...]:
    frames = lake.sql(
        "SELECT DISTINCT f.shard "
        "FROM (SELECT unnest(frames) f FROM steps WHERE list_contains(?, episode_id))",
        [list(episodes)],
    )
    return tuple(sorted(frames["shard"].to_pylist()))


def _snapshots(lake: Lake, ids: Sequence[str], of_logs: Sequence[str]) -> tuple[str, ...]:
    """Snapshots that hold one of the episodes, or point into a frame shard that will be written anew."""
    found = lake.sql(
        "SELECT DISTINCT digest FROM snapshot_members JOIN snapshots USING (digest) "
        "WHERE list_contains($1, episode_id) "
        "OR (list_contains($2, episode_id) AND json_array_length(spec, '$.cameras') > 0)",
        [list(ids), list(of_logs)],
    )
    return tuple(sorted(found["digest"].to_pylist()))


def pending(lake: Lake, landing: str) -> list[Plan]:
    """Erasures begun and not finished."""
    folder = lake.path("erasures")
    if not lake.fs.exists(folder):
        return []
    found = [p for p in lake.fs.find(folder) if p.endswith(PENDING)]
    return [_read(lake, landing, _noted(lake, lake.place.relative(path))) for path in sorted(found)]


def _noted(lake: Lake, name: str) -> dict[str, Any]:
    try:
        return json.loads(lake.place.read(name))
    except ValueError as error:
        raise StorageError(
            f"{lake.path(name)}: a damaged note of an erasure ({error}); restore it from a backup, or remove "
            "it and erase the same episodes again"
        ) from error


def _read(lake: Lake, landing: str, said: dict[str, Any]) -> Plan:
    """A plan as it was noted. Raw logs are looked for anew: a copy of a home has its own."""
    root = said.pop("root", lake.root)
    if "ranges" not in said:  # noted by an older release
        shared = lake.read(
            "episodes", columns=["log_id"], where="list_contains(?, episode_id)", params=[said["siblings"]]
        )
        stays = set(shared["log_id"].to_pylist())
        said |= {"ranges": {log: [] if log in stays else None for log in said.pop("logs")}, "unseen": {}}
        said |= {"unknown": [], "before": [], "numbers": [], "also": []}
    ranges: dict[str, Ranges | None] = {
        log: r and [(a, b) for a, b in r] for log, r in said.pop("ranges").items()
    }
    said.pop("raw", None)
    named = said.pop("also")
    also = named if root == lake.root else []
    steps, unseen = said.pop("steps"), said.pop("unseen")
    lists = {name: tuple(value) for name, value in said.items()}
    raw = _raw_logs(lake, landing, ranges, also, lists["before"], strict=False)
    return Plan(raw=tuple(raw), ranges=ranges, also=tuple(also), steps=steps, unseen=unseen, **lists)


def erase(lake: Lake, what: Plan, *, reissue: Reissue, now_ns: int, pages: str) -> Erased:
    """Carry out a plan, from the start or from wherever it was interrupted.

    ``pages`` is where reports lie. All HTML there goes: figures and films show episodes in a form that no
    search of bytes would find, and every page can be made anew from the lake.
    """
    sizes = {log.log_id: log.bytes for log in what.raw}
    stones = {log: LogStone(sizes.get(log, 0), ranges) for log, ranges in what.ranges.items()}
    contents = recordings(lake, what.episodes)[1]
    lake.tombstones.bury([*what.episodes, *what.shards, *contents], stones)
    note = _note(lake, what)
    _seek(lake, what)
    for table in FENCED:
        lake.log(table).fence()
    _logs(lake, what, now_ns)
    changed = delete(what.raw)
    ids = list(what.episodes)
    if late := set(_shards(lake, ids)) - set(what.shards):  # came between plan and fence
        what = replace(what, shards=tuple(sorted({*what.shards, *late})))
        lake.tombstones.bury([*ids, *what.shards, *contents], stones)
        _note(lake, what)
        lake.log("snapshots").fence()
    for table in ("episodes", "labels", "segments"):
        lake.replace(table, _nothing(lake, table), {"episode_id": ids})
    moved = _moved(lake, what)
    _steps(lake, what, moved)
    successors = dict(reissue(frozenset(ids), moved))
    for shard in {*what.shards, *_orphans(lake, what)}:
        lake.place.remove(shard)
    _withdraw(lake, ids)
    lake.replace("snapshot_members", _nothing(lake, "snapshot_members"), {"episode_id": ids})
    vacuum.purge(lake, ids)
    _pages(pages)
    gone = [log for log in what.of(Fate.DELETED) if log not in changed]
    record = {
        "erased_ns": now_ns,
        "episodes": len(ids),
        "steps": what.steps,
        "raw_bytes": sum(log.bytes for log in gone),
        "raw_left": {str(f): len(what.of(f)) for f in (Fate.SHARED, Fate.ELSEWHERE, Fate.REPLACED)},
        "snapshots": successors,
        "policies": what.policies,
    }
    with lake.place.write("erasures", f"{what.token}.json") as stream:
        stream.write(json.dumps(record, indent=1).encode())
    lake.place.remove("erasures", what.token + MOVED)
    lake.place.remove("erasures", note)
    return Erased(what, successors, changed)


def _note(lake: Lake, what: Plan) -> str:
    note = f"{what.token}{PENDING}"
    with lake.place.write("erasures", note) as stream:
        said = {name: value for name, value in asdict(what).items() if name != "raw"}
        stream.write(json.dumps(said | {"root": lake.root}).encode())
    return note


def _seek(lake: Lake, what: Plan) -> None:
    """Keep what is looked for until it is found nowhere: the rows that it is taken from are going."""
    said = {"episodes": [_hidden(e) for e in what.episodes], "needles": what.needles, "numbers": what.numbers}
    if what.needles or what.numbers:
        with lake.place.write("erasures", what.token + SOUGHT) as stream:
            stream.write(json.dumps(said).encode())


def _hidden(episode: str) -> str:
    return hashlib.sha256(episode.encode()).hexdigest()


def _sought(lake: Lake, episodes: Collection[str]) -> dict[str, dict[str, Any]]:
    """By file: what earlier erasures of one of the episodes looked for and were not seen to be rid of."""
    folder, hidden = lake.path("erasures"), {_hidden(episode) for episode in episodes}
    if not lake.place.exists("erasures"):
        return {}
    names = [lake.place.relative(path) for path in lake.fs.find(folder) if path.endswith(SOUGHT)]
    said = {name: _noted(lake, name) for name in sorted(names)}
    return {name: one for name, one in said.items() if not hidden.isdisjoint(one["episodes"])}


def _with_sought(lake: Lake, what: Needles) -> Needles:
    pieces, numbers = dict.fromkeys(what.pieces), dict.fromkeys(what.numbers)
    for said in _sought(lake, what.ids).values():
        pieces |= dict.fromkeys(bytes.fromhex(piece) for piece in said["needles"])
        numbers |= dict.fromkeys(bytes.fromhex(run) for run in said["numbers"])
    return Needles(what.ids, tuple(pieces), tuple(numbers))


def absent(lake: Lake, what: Plan) -> None:
    """To be called once a search found it nowhere but where it is kept: what was looked for is forgotten."""
    hidden = {_hidden(episode) for episode in what.episodes}
    for name, said in _sought(lake, what.episodes).items():
        if hidden.issuperset(said["episodes"]):
            lake.place.remove(name)


def needles(what: Plan) -> Needles:
    """What must not be found anywhere any more."""
    return Needles(
        what.episodes,
        tuple(bytes.fromhex(piece) for piece in what.needles),
        tuple(bytes.fromhex(run) for run in what.numbers),
    )


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
