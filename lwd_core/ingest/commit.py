"""Raw logs into the lake: many logs a commit, each exactly once, nothing half.

Order of one batch: frames (named by their log), steps, segments, episodes, then the rows of ``logs``.
An episode is seen once its row is there. Killed anywhere, the next run finds the batch's logs unknown
and lands them again: shards are overwritten by the same bytes, rows replaced by log. Two runs over
the same logs land each once, because every commit looks at the version it builds on.
Where a log supersedes another, one commit of ``episodes`` puts its own in the other's place.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.ingest import supersede
from lwd_core.ingest.admission import admitted
from lwd_core.ingest.landing import UNSAID, LandedLog, Origin, receive
from lwd_core.ingest.reading import BATCH_LOGS, MOVED_ON, NO_BYTES, Item, Known, Run, batches, new_logs, read
from lwd_core.ingest.staging import Reader, Staged, duplicate
from lwd_core.ingest.supersede import TAKEN
from lwd_core.ingest.without_erased import spared
from lwd_core.lake import addresses
from lwd_core.lake.rewrite import holds
from lwd_core.lake.store import Lake
from lwd_core.logs.read import mended
from lwd_core.robots.enrolment import Registry
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import EPISODES, LOGS
from storage_schemas.vocabulary import LogState


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
    """What became of the logs of one run. ``known`` were there before, unchanged; ``superseded`` are logs of
    earlier runs whose address holds other bytes now. ``let_in``: those taken that had been refused for whose
    they are.

    ``reasons`` are (uri, why) of logs in quarantine or not whole, ``quarantine`` of the former alone;
    ``faults`` (uri, traceback) of logs the readers failed on by their own fault.
    """

    accepted: Tally = field(default_factory=Tally)
    duplicate: Tally = field(default_factory=Tally)
    salvaged: Tally = field(default_factory=Tally)
    quarantined: Tally = field(default_factory=Tally)
    superseded: Tally = field(default_factory=Tally)
    known: Tally = field(default_factory=Tally)
    episodes: int = 0
    steps: int = 0
    let_in: int = 0
    reasons: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    quarantine: list[tuple[str, str]] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether there was any log."""
        tallies = (self.accepted, self.duplicate, self.salvaged, self.quarantined, self.known)
        return any(tally.files for tally in tallies) or bool(self.reasons)

    def tally(self, state: str) -> Tally:
        """The tally of a log state."""
        return getattr(self, state)


Progress = Callable[[int, LandedLog], None]


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
    origin: Origin = UNSAID,
) -> IngestResult:
    """Take in every raw log under ``paths``; logs already in the lake cost a look.

    Logs are read in ``workers`` processes with limits of memory and time by their size; a ``reader`` of
    one's own works in this process, without. ``batch_logs`` bounds a commit. ``again`` are (log_id, stored
    address) of quarantined logs to read anew; those that an older reader failed on, and those whose robot was
    enrolled since, are read anew anyway.
    ``origin`` says where logs come from that lie outside of the landing zone. ``progress`` is called with the
    count of logs done and the log. Raises ``OSError`` when disk or network fail; what was committed before
    stays.
    """
    addresses.renew(lake, settings.landing)
    registry = Registry.of(settings)
    let_in = admitted(lake, settings, registry)
    again |= _mended(lake) | let_in
    known = Known.of(lake, again)
    landing = open_location(settings.landing).root
    run = Run(lake.place, embodiments, reader, now_ns, known, landing, registry)
    result = IngestResult()
    fresh = new_logs(receive(paths, settings.landing, origin), known, result.known.add)
    done = 0
    while True:
        orphans: list[Item] = []
        for batch in batches(read(run, fresh, workers), batch_logs):
            orphans += _land(lake, batch, again, now_ns, result)
            taken = [item for item in batch if item.staged and item.staged.state in TAKEN]
            result.let_in += sum((item.log_id, item.received.place) in let_in for item in taken)
            for item in batch:
                done += 1
                if progress:
                    progress(done, item.received)
        if not orphans:
            return result
        run, workers = replace(run, known=Known.of(lake, again)), 1
        fresh = iter([(item.received, None) for item in orphans])


def _mended(lake: Lake) -> frozenset[tuple[str, str]]:
    rows = lake.read("logs", columns=["log_id", "uri", "reason"], where="state = 'quarantined'").to_pylist()
    return frozenset((row["log_id"], row["uri"]) for row in rows if mended(row["reason"]))


def _land(
    lake: Lake, batch: list[Item], again: frozenset[tuple[str, str]], now_ns: int, result: IngestResult
) -> list[Item]:
    """Commit a batch; return the logs whose bytes were known and are not any more, to be read after all."""
    batch = [replace(i, staged=spared(lake, i.staged)) if i.staged is not None else i for i in batch]
    for item in batch:
        if item.log_id == MOVED_ON:
            why = "renamed, removed or written to while it was read; the next ingest takes what is there then"
            result.reasons.append((item.received.place, why))
        elif item.known:
            result.known.add(item.received.bytes)
    news = [item for item in batch if item.log_id != MOVED_ON and not item.known]
    new: dict[str, Staged] = {}
    for item in news:
        if item.staged is not None:
            new.setdefault(item.log_id, item.staged)
    taken = [s for s in new.values() if s.state in TAKEN]
    landing = Landing(lake, news, again, now_ns)
    there = landing.there(lake.version("logs"))
    orphans = landing.orphans(there)
    if orphans:
        landing = replace(landing, news=[item for item in news if item not in orphans])
    settled = landing.settled(there)
    leaving = sorted(settled.leaving)
    if taken:
        ids = [s.log_id for s in taken]
        for table in ("steps", "segments"):
            rows = pa.concat_tables([getattr(s, table) for s in taken])
            if rows.num_rows:
                days, sites = (pc.unique(rows[name]).to_pylist() for name in ("day", "site"))
                lake.replace(table, rows, {"day": days, "site": sites, "log_id": ids})
    if taken or leaving:
        rows = pa.concat_tables([EPISODES.schema.empty_table(), *(s.episodes for s in taken)])
        if leaving:
            supersede.carry_labels(lake, leaving, rows)
        _episodes(lake, rows, leaving, result)
    if landing.news:
        landing.commit([*there, *settled.made], leaving, result)
    return orphans


def _episodes(lake: Lake, rows: pa.Table, leaving: list[str], result: IngestResult) -> None:
    ids = pc.unique(rows["log_id"]).to_pylist()
    added = rows

    def plan(version: int) -> pa.Table:
        nonlocal added
        there = holds(lake, "episodes", version, "log_id", ids)
        kept = rows.filter(pc.invert(pc.is_in(rows["log_id"], pa.array(sorted(there), pa.string()))))
        if kept.num_rows != added.num_rows:
            added = kept
        return added

    lake.settle("episodes", plan, {"log_id": leaving} if leaving else {})
    result.episodes += added.num_rows
    result.steps += pc.sum(added["steps"]).as_py() or 0


class _Outgrown(Exception):
    """Another writer has brought rows that concern these logs since they were looked at."""


@dataclass(frozen=True)
class Landing:
    """What becomes of each new log of a batch: the first with its bytes is taken, others are duplicates, and
    whatever was at its address before is superseded."""

    lake: Lake
    news: list[Item]
    again: frozenset[tuple[str, str]]
    now_ns: int

    def there(self, version: int | None) -> list[dict]:
        """Rows of ``logs`` that the batch concerns."""
        if version is None or not self.news:
            return []
        uris = sorted({item.received.place for item in self.news})
        ids = sorted({item.log_id for item in self.news})
        return supersede.rows_at(self.lake, version, uris, ids)

    def orphans(self, there: list[dict]) -> list[Item]:
        """Logs that were passed over because their bytes are in the lake, where these have left it since."""
        owned = {row["log_id"] for row in there if row["state"] in TAKEN} | {NO_BYTES}
        owned |= {item.log_id for item in self.news if item.staged is not None}
        return [item for item in self.news if item.log_id not in owned]

    def settled(self, there: list[dict]) -> supersede.Settled:
        """The rows that the batch concerns, as they will stand."""
        uris = {item.received.place for item in self.news}
        there = [
            row for row in there if row["uri"] not in uris or (row["log_id"], row["uri"]) not in self.again
        ]
        owner = {row["log_id"]: row["uri"] for row in there if row["state"] in TAKEN}
        made = []
        for item in self.news:
            first = item.staged is not None and (
                item.staged.state not in TAKEN
                or owner.setdefault(item.log_id, item.received.place) == item.received.place
            )
            made.append(
                item.staged.logs
                if first and item.staged
                else duplicate(item.received, item.log_id, self.now_ns)
            )
        return supersede.settle(there, pa.concat_tables(made).to_pylist() if made else [])

    def commit(self, concerned: list[dict], left: list[str], result: IngestResult) -> None:
        """Enter the logs. ``concerned`` are the rows to look at, ``left`` digests whose episodes are gone."""
        for item in self.news:
            if item.staged is not None and item.staged.state == LogState.QUARANTINED:
                _mark(self.lake, item.staged)
                if item.staged.trace:
                    result.faults.append((item.received.place, item.staged.trace))
        settled: list[supersede.Settled] = []

        def plan(version: int) -> pa.Table:
            there = self.there(version)
            if any(row["log_id"] not in ids or row["uri"] not in uris for row in there):
                concerned.extend(there)
                raise _Outgrown
            settled[:] = [self.settled(there)]
            return pa.Table.from_pylist(settled[0].rows, schema=LOGS.schema)

        while not settled:
            ids, uris = ({row[name] for row in concerned} for name in ("log_id", "uri"))
            with suppress(_Outgrown):
                self.lake.settle("logs", plan, {"log_id": sorted(ids), "uri": sorted(uris)})
        if gone := sorted({*settled[0].leaving, *left}):
            supersede.sweep(self.lake, gone)
        for row in settled[0].made:
            result.tally(row["state"]).add(row["bytes"])
            if row["reason"] and row["state"] != LogState.DUPLICATE:
                result.reasons.append((row["uri"], row["reason"]))
            if row["state"] == LogState.QUARANTINED:
                result.quarantine.append((row["uri"], row["reason"]))
        for row in settled[0].superseded:
            result.superseded.add(row["bytes"])


def _mark(lake: Lake, staged: Staged) -> None:
    """A note for whoever looks into the folder; the bytes stay where they were received."""
    row = staged.logs.select(["uri", "bytes", "reason"]).to_pylist()[0]
    if staged.trace:
        row["trace"] = staged.trace.splitlines()
    with lake.place.write("quarantine", f"{staged.log_id}.json") as note:
        note.write(json.dumps(row, indent=1).encode())
