"""What an erasure takes away and what it touches: worked out before anything is changed."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.erasure.raw_logs import Fate, RawLog, copies, fate, raw_path
from lwd_core.erasure.search import Needles, needles_of, unrecognised
from lwd_core.erasure.sought import with_sought
from lwd_core.errors import UserError
from lwd_core.judges.kept import kept, learned_from
from lwd_core.lake import rewrite, vacuum
from lwd_core.lake.same_recording import recordings
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import TABLES_OF_EPISODES, Ranges, apart
from lwd_core.lineage import impact
from lwd_core.storage.location import open_location

EPISODE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Plan:
    """What an erasure takes away and what it touches.

    ``unknown`` are those of the episodes that the lake doesn't have, ``before`` those of them that an
    earlier erasure took. ``ranges`` are by log the message ranges that go, None: all. ``also`` are paths that
    the caller named, ``siblings`` episodes of the same logs that stay, ``shards`` frame shards that go or are
    written anew, ``snapshots`` digests to be withdrawn, ``policies`` those trained on the episodes, directly
    or through a parent. ``needles`` and ``numbers`` are what the proof of absence looks for, ``unseen`` what
    of a log, by its path, it can't see; ``models`` label and have learned from them.
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
    models: tuple[str, ...] = ()

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

    @property
    def sought(self) -> Needles:
        """What must not be found anywhere any more."""
        return Needles(
            self.episodes,
            tuple(bytes.fromhex(piece) for piece in self.needles),
            tuple(bytes.fromhex(run) for run in self.numbers),
        )


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
    raw = files_of(lake, landing, ranges, wanted, before)
    siblings = tuple(sorted(row["episode_id"] for row in staying))
    shards = shards_of(lake, ids)
    needles = with_sought(lake, needles_of(lake, ids))
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
        models=tuple(learned_from(kept(lake), ids)),
    )


def files_of(
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


def shards_of(lake: Lake, episodes: Sequence[str]) -> tuple[str, ...]:
    """Frame shards that hold pictures of the episodes."""
    frames = lake.sql(
        "SELECT DISTINCT f.shard "
        "FROM (SELECT unnest(frames) f FROM steps WHERE list_contains(?, episode_id))",
        [list(episodes)],
    )
    return tuple(sorted(frames["shard"].to_pylist()))


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


def _snapshots(lake: Lake, ids: Sequence[str], of_logs: Sequence[str]) -> tuple[str, ...]:
    """Snapshots that hold one of the episodes, or point into a frame shard that will be written anew."""
    found = lake.sql(
        "SELECT DISTINCT digest FROM snapshot_members JOIN snapshots USING (digest) "
        "WHERE list_contains($1, episode_id) "
        "OR (list_contains($2, episode_id) AND json_array_length(spec, '$.cameras') > 0)",
        [list(ids), list(of_logs)],
    )
    return tuple(sorted(found["digest"].to_pylist()))
