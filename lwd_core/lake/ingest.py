"""Raw logs into the lake: many logs a commit, each exactly once, nothing half.

Order of one batch: frames (named by their log), steps, segments, episodes, then the rows of ``logs``.
An episode is seen once its row is there. Killed anywhere, the next run finds the batch's logs unknown
and lands them again: shards are overwritten by the same bytes, rows replaced by log. Two runs over
the same logs land each once, because every commit looks at the version it builds on.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.lake.place import Place
from lwd_core.lake.received import Received, receive
from lwd_core.lake.rewrite import holds
from lwd_core.lake.spared import spared
from lwd_core.lake.stage import Reader, Staged, duplicate, refused, stage
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import LOGS
from storage_schemas.vocabulary import LogState

BATCH_LOGS, BATCH_BYTES = 128, 256 * 2**20
TAKEN = (LogState.ACCEPTED, LogState.SALVAGED)


@dataclass
class Tally:
    """So many files of so many bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.files += 1
        self.bytes += size


@dataclass
class IngestResult:
    """What became of the logs of one run. ``known`` were there before, unchanged."""

    accepted: Tally = field(default_factory=Tally)
    duplicate: Tally = field(default_factory=Tally)
    salvaged: Tally = field(default_factory=Tally)
    quarantined: Tally = field(default_factory=Tally)
    known: Tally = field(default_factory=Tally)
    episodes: int = 0
    steps: int = 0
    reasons: list[tuple[str, str]] = field(default_factory=list)

    def tally(self, state: str) -> Tally:
        """The tally of a log state."""
        return getattr(self, state)


@dataclass(frozen=True)
class Run:
    """What all logs of one run share."""

    place: Place
    embodiments: Mapping[str, Embodiment]
    reader: Reader
    now_ns: int
    known: "Known"


Progress = Callable[[int, Received], None]


def ingest(
    lake: Lake,
    settings: Settings,
    paths: Iterable[str],
    *,
    embodiments: Mapping[str, Embodiment],
    now_ns: int,
    progress: Progress | None = None,
    workers: int = 1,
    batch_logs: int = BATCH_LOGS,
    reader: Reader | None = None,
    again: frozenset[tuple[str, str]] = frozenset(),
) -> IngestResult:
    """Take in every raw log under ``paths``; logs already in the lake cost a look.

    ``workers`` > 1 reads logs in that many processes; ``batch_logs`` bounds a commit. ``again`` are
    (log_id, uri) of quarantined logs to read anew. ``progress`` is called with the count of logs done and
    the log. Raises ``OSError`` when disk or network fail; what was committed before
    stays.
    """
    known = Known.of(lake, again)
    run = Run(lake.place, embodiments, reader or _read_log(), now_ns, known)
    result = IngestResult()
    fresh = _fresh(receive(paths, settings.landing), known, result)
    done = 0
    for batch in _batches(_staged(run, fresh, workers), batch_logs):
        _land(lake, batch, again, now_ns, result)
        for item in batch:
            done += 1
            if progress:
                progress(done, item.received)
    return result


def _read_log() -> Reader:
    from lwd_core.logs.read import read_log  # readers of every format: costly, and tests bring their own

    return read_log


@dataclass(frozen=True)
class Known:
    """Logs the lake has: by name and digest, and digests whose content is in."""

    received: set[tuple[str, str]]
    sizes: dict[tuple[str, str], int]
    taken: set[str]

    @classmethod
    def of(cls, lake: Lake, again: frozenset[tuple[str, str]]) -> "Known":
        rows = lake.read("logs", columns=["log_id", "uri", "bytes", "state"]).to_pylist()
        pairs = {(row["log_id"], row["uri"]): row["bytes"] for row in rows}
        taken = {row["log_id"] for row in rows if row["state"] in TAKEN}
        return cls(set(pairs) - again, pairs, taken)


def _fresh(
    logs: Iterable[Received], known: Known, result: IngestResult
) -> Iterator[tuple[Received, str | None]]:
    """Logs not known yet, with the digest stated beside them.

    A log whose name, size and stated digest are known is passed over without reading it.
    """
    for log in logs:
        claimed = log.claimed()
        pair = (claimed or "", log.uri)
        if pair in known.received and known.sizes[pair] == log.bytes:
            result.known.add(log.bytes)
            continue
        yield log, claimed


def _one(run: Run, item: tuple[Received, str | None]) -> Staged | str:
    """One log as rows; its digest alone where its bytes are known already."""
    (log, claimed), known = item, run.known
    log_id = log.source.sha256()
    if (log_id, log.uri) in known.received or log_id in known.taken:
        return log_id
    if claimed is not None and claimed != log_id:
        reason = f"its sha256 is {log_id[:12]}…, the robot stated {claimed[:12]}…: damaged on its way"
        return refused(log, log_id, reason, run.now_ns)
    return stage(run.place, log, log_id, run.embodiments, run.reader, run.now_ns)


@dataclass(frozen=True)
class Item:
    """One log of a batch: staged, or only named because its bytes are known."""

    received: Received
    log_id: str
    staged: Staged | None
    known: bool


_shared: Run  # of a worker process


def _share(run: Run) -> None:
    global _shared
    _shared = run


def _one_shared(item: tuple[Received, str | None]) -> Staged | str:
    return _one(_shared, item)


def _staged(run: Run, fresh: Iterator[tuple[Received, str | None]], workers: int) -> Iterator[Item]:
    known = run.known

    def item(log: Received, outcome: Staged | str) -> Item:
        if isinstance(outcome, str):
            return Item(log, outcome, None, (outcome, log.uri) in known.received)
        if outcome.state in TAKEN:
            known.taken.add(outcome.log_id)  # the same bytes further on are not read again
        return Item(log, outcome.log_id, outcome, False)

    if workers <= 1:
        for pair in fresh:
            yield item(pair[0], _one(run, pair))
        return
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_share, initargs=(run,)) as pool:
        # a window, not the whole list: rows of logs read ahead lie in memory
        while window := list(islice(fresh, 8 * workers)):
            for pair, outcome in zip(window, pool.map(_one_shared, window), strict=True):
                yield item(pair[0], outcome)


def _batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += item.staged.steps.nbytes if item.staged else 0
        if len(batch) >= most or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _land(
    lake: Lake, batch: list[Item], again: frozenset[tuple[str, str]], now_ns: int, result: IngestResult
) -> None:
    """Commit a batch."""
    batch = [replace(i, staged=spared(lake, i.staged)) if i.staged is not None else i for i in batch]
    new: dict[str, Staged] = {}
    for item in batch:
        if item.staged is not None:
            new.setdefault(item.log_id, item.staged)
    taken = [s for s in new.values() if s.state in TAKEN]
    if taken:
        ids = [s.log_id for s in taken]
        for table in ("steps", "segments"):
            rows = pa.concat_tables([getattr(s, table) for s in taken])
            if rows.num_rows:
                days, sites = (pc.unique(rows[name]).to_pylist() for name in ("day", "site"))
                lake.replace(table, rows, {"day": days, "site": sites, "log_id": ids})
        _episodes(lake, pa.concat_tables([s.episodes for s in taken]), result)
    _logs(lake, batch, again, now_ns, result)


def _episodes(lake: Lake, rows: pa.Table, result: IngestResult) -> None:
    ids = pc.unique(rows["log_id"]).to_pylist()
    added = rows

    def plan(version: int) -> pa.Table:
        nonlocal added
        there = holds(lake, "episodes", version, "log_id", ids)
        kept = rows.filter(pc.invert(pc.is_in(rows["log_id"], pa.array(sorted(there), pa.string()))))
        if kept.num_rows != added.num_rows:
            added = kept
        return added

    lake.settle("episodes", plan, {})
    result.episodes += added.num_rows
    result.steps += pc.sum(added["steps"]).as_py() or 0


def _logs(
    lake: Lake, batch: list[Item], again: frozenset[tuple[str, str]], now_ns: int, result: IngestResult
) -> None:
    """Say what became of each log: the first with its bytes is taken, others are duplicates."""
    news = [item for item in batch if not item.known]
    for item in batch:
        if item.known:
            result.known.add(item.received.bytes)
    if not news:
        return
    ids, uris = sorted({i.log_id for i in news}), sorted({i.received.uri for i in news})
    rows = LOGS.schema.empty_table()

    def plan(version: int) -> pa.Table:
        nonlocal rows
        there = lake.read(
            "logs",
            columns=["log_id", "uri", "state"],
            where="list_contains(?, log_id)",
            params=[ids],
            versions={"logs": version},
        ).to_pylist()
        owner = {row["log_id"]: row["uri"] for row in there if row["state"] in TAKEN}
        made = []
        for item in news:
            first = item.staged is not None and (
                item.staged.state not in TAKEN
                or owner.setdefault(item.log_id, item.received.uri) == item.received.uri
            )
            made.append(
                item.staged.logs if first and item.staged else duplicate(item.received, item.log_id, now_ns)
            )
        rows = pa.concat_tables(made)
        return rows

    for item in news:
        if item.staged is not None and item.staged.state == LogState.QUARANTINED:
            _mark(lake, item.staged)
    mended = {old for old, uri in again if uri in uris}
    lake.settle("logs", plan, {"log_id": sorted({*ids, *mended}), "uri": uris})
    for row in rows.select(["uri", "bytes", "state", "reason"]).to_pylist():
        result.tally(row["state"]).add(row["bytes"])
        if row["reason"] and row["state"] != LogState.DUPLICATE:
            result.reasons.append((row["uri"], row["reason"]))


def _mark(lake: Lake, staged: Staged) -> None:
    """A note for whoever looks into the folder; the bytes stay where they were received."""
    row = staged.logs.select(["uri", "bytes", "reason"]).to_pylist()[0]
    with lake.place.write("quarantine", f"{staged.log_id}.json") as note:
        note.write(json.dumps(row, indent=1).encode())


__all__ = ["IngestResult", "Tally", "ingest"]
