"""Logs that are in, read again by the embodiment files of today: another mapping gives other rows.

What a reading gives lies beside what an earlier one gave, out of sight, until the rows of its episodes are
replaced in one commit (`lake.query`); then what was replaced goes. The row of the log comes last and says
that all is done. So a remap that is killed is done again by the next, and a log is never seen half of one
reading and half of another.
Episodes keep their ids, and with them what people said of them; the layers our own labellers made are made
again. A log that can't be read any more stays as it was.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError, suggest
from lwd_core.ingest import reading
from lwd_core.ingest.landing import LandedLog, origin_of
from lwd_core.ingest.provenance import Meaning
from lwd_core.ingest.reused_frames import Shown, refilmed, shards_in, shards_of, sweep
from lwd_core.ingest.staging import Reader, Staged
from lwd_core.ingest.supersede import TAKEN
from lwd_core.ingest.without_erased import spared
from lwd_core.labels.people import place_again
from lwd_core.labels.registry import derived
from lwd_core.lake import addresses
from lwd_core.lake.query import text
from lwd_core.lake.same_recording import remembered
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import resolve, stored
from storage_schemas.canonical import digest
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import EPISODES, LOGS
from storage_schemas.vocabulary import LogState

_KEPT = ("site", "day", "robot_id")  # where and when a log was received does not depend on how it is read
Row = dict[str, Any]


@dataclass
class Remapped:
    """What a remap did. ``left`` are (uri, why) of logs that stay as they were."""

    logs: int = 0
    episodes: int = 0
    steps: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)
    layers: set[str] = field(default_factory=set)


def outdated(
    lake: Lake, embodiments: Mapping[str, Embodiment], *, named: Sequence[str] = (), embodiment: str = ""
) -> list[Row]:
    """Rows of ``logs`` to read again: those read by other files than today's; those ``named``, in any case.

    Nothing is left to read of a log that was erased whole. A name is an address, the end of one, or the
    beginning of a log's digest. Raises ``UserError`` for one of
    no log, and for an ``embodiment`` without a file.
    """
    if embodiment and embodiment not in embodiments:
        raise UserError(f"embodiment {embodiment}: no such file{suggest(embodiment, embodiments)}")
    rows = lake.read(
        "logs", where="state IN ('accepted', 'salvaged') AND (? IN ('', embodiment)) ORDER BY uri, log_id",
        params=[embodiment],
    ).to_pylist()  # fmt: skip
    if not named:
        today = {name: e.digest for name, e in embodiments.items()}
        rows = [row for row in rows if row["embodiment_digest"] != today.get(row["embodiment"], "")]
        stones = lake.tombstones.logs(row["log_id"] for row in rows)
        erased = {log for log, stone in stones.items() if stone.ranges is None}
        return [row for row in rows if row["log_id"] not in erased]
    found = {name: [row for row in rows if _is_called(row, name)] for name in named}
    if unknown := [name for name, logs in found.items() if not logs]:
        raise UserError(f"{unknown[0]}: no log of the lake is called so; `lwd logs` lists them")
    unique = {row["log_id"]: row for logs in found.values() for row in logs}
    return list(unique.values())


def _is_called(row: Row, name: str) -> bool:
    uri, whole = f"/{row['uri']}", open_location(name).root
    called = whole == row["uri"] or whole.endswith(uri) or uri.endswith(f"/{name}")
    return called or (len(name) >= 6 and row["log_id"].startswith(name))


def remap(
    lake: Lake,
    settings: Settings,
    logs: Sequence[Row],
    *,
    embodiments: Mapping[str, Embodiment],
    now_ns: int,
    workers: int = 1,
    batch_logs: int = reading.BATCH_LOGS,
    reader: Reader | None = None,
) -> Remapped:
    """Read these logs (rows of ``logs``) again and replace what they gave; ``batch_logs`` bounds a commit."""
    result = Remapped()
    here: dict[str, Row] = {}
    mark = digest({name: e.digest for name, e in embodiments.items()})[:8] + "-"
    again: list[tuple[LandedLog, str]] = []
    landing = open_location(settings.landing).root
    for row in logs:
        uri = _address(lake, landing, row)
        if uri is None:
            result.left.append((row["uri"], "the raw log is not there any more"))
            continue
        said, _ = origin_of(landing, uri)
        log = LandedLog(uri, row["bytes"], said.site, said.day, said.robot, stored(landing, uri), mark=mark)
        again.append((log, row["log_id"]))
        here[row["log_id"]] = row
    read = reading.read_anew(
        lake.place, again, embodiments=embodiments, now_ns=now_ns, workers=workers, reader=reader
    )
    for batch in reading.batches(read, batch_logs):
        _replace(lake, batch, here, result)
    return result


def _address(lake: Lake, landing: str, row: Row) -> str | None:
    """Where a log's bytes still lie: where they were taken from, else where they came to once more."""
    known = addresses.logs(lake, landing, ("state",), f"log_id = {text(row['log_id'])}")
    known.sort(key=lambda other: other["state"] == LogState.DUPLICATE)
    places = (resolve(landing, other["uri"]) for other in known if other["state"] != LogState.SUPERSEDED)
    return next((place for place in places if open_location(place).exists()), None)


def _replace(lake: Lake, batch: Iterable[reading.Item], here: Mapping[str, Row], result: Remapped) -> None:
    """Commit a batch of logs that were read again."""
    taken: list[Staged] = []
    frames: dict[str, set[str]] = {}  # shards that hold those of a log so far
    for item in batch:
        staged = item.staged
        if why := _unfit(item, here):
            result.left.append((item.received.place, why))
            continue
        assert staged is not None
        staged = spared(lake, staged)
        old = shards_of(lake, staged.log_id)
        try:
            staged = refilmed(lake, staged)
        except Shown as shown:
            result.left.append((item.received.place, str(shown)))
            sweep(lake, staged.log_id, old, shards_in(staged.steps))
            continue
        taken.append(staged)
        frames[staged.log_id] = old
    if not taken:
        return
    ids = [s.log_id for s in taken]
    before = {row["episode_id"]: row for row in _episodes_of(lake, ids, None)}
    episodes = pa.concat_tables([s.episodes for s in taken])
    placed = _placed(episodes, before, here)
    for table in ("steps", "segments"):
        rows = _moved(pa.concat_tables([getattr(s, table) for s in taken]), placed)
        for own_reading in pc.unique(episodes["reading"]).to_pylist():
            own = rows.filter(pc.is_in(rows["reading"], pa.array([own_reading], pa.string())))
            if own.num_rows:
                logs = pc.unique(own["log_id"]).to_pylist()
                lake.replace(table, own, {"log_id": logs, "reading": [own_reading]})
    replaced: dict[str, list[str]] = {}

    def plan(version: int) -> pa.Table:
        replaced.clear()
        rows = []
        old = {row["episode_id"]: row for row in _episodes_of(lake, ids, version)}
        history = {row["log_id"]: _history(row) for row in old.values()}
        for row in placed.values():
            known = old.get(row["episode_id"])
            past = [m for m in history.get(row["log_id"], []) if m != _meaning(row)]
            replaced[row["log_id"]] = past
            said = json.loads(row["attributes"]) | ({"remapped_from": json.dumps(past)} if past else {})
            said |= remembered(known, row) if known else {}
            row = row | {"attributes": json.dumps(said, sort_keys=True)}
            rows.append(row | ({"created_ns": known["created_ns"]} if known else {}))
        return pa.Table.from_pylist(rows, schema=EPISODES.schema)

    lake.settle("episodes", plan, {"log_id": ids})
    for log_id, past in replaced.items():
        if past:
            for table in ("steps", "segments"):
                gone = {"log_id": [log_id], "reading": [_reading(m) for m in past]}
                lake.replace(table, lake.read(table, where="false"), gone)
    for staged in taken:
        sweep(lake, staged.log_id, shards_of(lake, staged.log_id), frames[staged.log_id])
    result.layers |= _drop_derived(lake, list(placed))
    place_again(lake, list(placed))
    rows = pa.concat_tables([s.logs for s in taken]).to_pylist()
    rows = [row | {name: here[row["log_id"]][name] for name in (*_KEPT, "uri", "created_ns")} for row in rows]
    uris = [row["uri"] for row in rows]
    lake.replace("logs", pa.Table.from_pylist(rows, schema=LOGS.schema), {"log_id": ids, "uri": uris})
    result.logs += len(taken)
    result.episodes += episodes.num_rows
    result.steps += pc.sum(episodes["steps"]).as_py() or 0


def _unfit(item: reading.Item, here: Mapping[str, Row]) -> str:
    """Why a log that was read can't stand for what is there; empty where it can."""
    if item.log_id not in here or item.staged is None:
        return "it has other bytes than those that were taken in"
    if item.staged.state not in TAKEN:
        return item.staged.logs["reason"][0].as_py()
    return "" if item.staged.episodes.num_rows else "it gives no episode any more"


def _episodes_of(lake: Lake, logs: list[str], version: int | None) -> list[Row]:
    versions = None if version is None else {"episodes": version}
    return lake.read(
        "episodes", where="list_contains(?, log_id)", params=[logs], versions=versions
    ).to_pylist()


# where rows stand


def _placed(episodes: pa.Table, before: Mapping[str, Row], here: Mapping[str, Row]) -> dict[str, Row]:
    """The new rows of episodes, standing where the old ones stood; a new episode where its log does."""
    return {
        row["episode_id"]: row
        | {name: (before.get(row["episode_id"]) or here[row["log_id"]])[name] for name in _KEPT}
        for row in episodes.to_pylist()
    }


def _moved(rows: pa.Table, placed: Mapping[str, Row]) -> pa.Table:
    """Steps or segments in the partition of their episode."""
    at = pc.index_in(rows["episode_id"], value_set=pa.array(list(placed)))
    for name in ("site", "day"):
        values = pa.array([row[name] for row in placed.values()], pa.string())
        rows = rows.set_column(rows.column_names.index(name), name, values.take(at.combine_chunks()))
    return rows


# what rows meant before


def _meaning(row: Row) -> str:
    """What an episode's row was made by, as one word; empty where nobody noted it."""
    return f"{row['embodiment_digest']} {row['reader_version']}" if row["embodiment_digest"] else ""


def _reading(meaning: str) -> str | None:
    embodiment, _, reader = meaning.partition(" ")
    return Meaning(embodiment or None, reader or None).reading


def _history(row: Row) -> list[str]:
    """Everything an episode's log was read by so far, oldest first, its present reading last."""
    past = json.loads(json.loads(row["attributes"]).get("remapped_from", "[]"))
    return [*past, _meaning(row)]


def _drop_derived(lake: Lake, episodes: list[str]) -> set[str]:
    """Take out what was computed from the old rows; labellers say it anew of what has no label."""
    there = lake.sql(
        "SELECT layer_id, max(source_digest) AS source_digest FROM labels WHERE list_contains(?, episode_id) "
        "GROUP BY layer_id",
        [episodes],
    ).to_pylist()
    stale = {row["layer_id"] for row in there if derived(**row)}
    if stale:
        gone = {"layer_id": sorted(stale), "episode_id": episodes}
        lake.replace("labels", lake.read("labels", where="false"), gone)
    return stale
