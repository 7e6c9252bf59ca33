"""Logs on their way through the readers: which are new, each read in a child with limits, in their order.

Nothing is committed here; `lwd_core.ingest.commit` and `lwd_core.ingest.remap` do that.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from lwd_core.ingest.admission import refusal
from lwd_core.ingest.landing import LandedLog
from lwd_core.ingest.staging import Reader, Staged, refused, stage, stage_log
from lwd_core.ingest.supersede import TAKEN
from lwd_core.lake.store import Lake
from lwd_core.logs.children import ChildCall, ChildLimits, Children, Lost
from lwd_core.robots.enrolment import Registry
from lwd_core.storage.location import Location
from lwd_core.storage.relative import below
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LogState

BATCH_LOGS, BATCH_BYTES = 128, 256 * 2**20
#: Logs a child may be ahead of what is committed, and what it is given at once.
AHEAD, GROUP_LOGS, GROUP_BYTES = 64, 16, 2**20
#: Digest of a log that has no bytes to read.
NO_BYTES = hashlib.sha256().hexdigest()
#: Digest given to a log that was not the same throughout its reading.
MOVED_ON = ""


@dataclass(frozen=True)
class Run:
    """What all logs of one run share. In ``landing``, ``registry`` says whose are taken."""

    place: Location
    embodiments: Mapping[str, Embodiment]
    reader: Reader | None
    now_ns: int
    known: "Known"
    landing: str = ""
    registry: Registry = field(default_factory=Registry)


@dataclass(frozen=True)
class Known:
    """Logs the lake has at their address: by digest and address, and digests whose content is in."""

    received: set[tuple[str, str]]
    sizes: dict[tuple[str, str], int]
    taken: set[str]
    stamps: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, lake: Lake, again: frozenset[tuple[str, str]]) -> "Known":
        rows = lake.read(
            "logs", columns=["log_id", "uri", "bytes", "state"], where=f"state <> '{LogState.SUPERSEDED}'"
        ).to_pylist()
        pairs = {(row["log_id"], row["uri"]): row["bytes"] for row in rows}
        taken = {row["log_id"] for row in rows if row["state"] in TAKEN}
        return cls(set(pairs) - again, pairs, taken)


def new_logs(
    logs: Iterable[LandedLog], known: Known, met: Callable[[int], None]
) -> Iterator[tuple[LandedLog, str | None]]:
    """Logs not known yet, with the digest stated beside them; ``met`` hears of the bytes of each that is.

    A log whose name, size and stated digest are known is passed over without reading it.
    """
    for log in logs:
        claimed = None if log.problem else log.claimed()
        pair = (claimed or "", log.place)
        if pair in known.received and known.sizes[pair] == log.bytes:
            met(log.bytes)
            continue
        yield log, claimed


def _looked(run: Run, log: LandedLog, claimed: str | None) -> tuple[str, Staged | str | None]:
    """A log's digest, and what can be said of it by that alone: known already, damaged on its way, none to
    keep to; None if it has to be read."""
    known = run.known
    if log.problem:
        seen = (NO_BYTES, log.place) in known.received
        return NO_BYTES, NO_BYTES if seen else refused(log, NO_BYTES, log.problem, run.now_ns)
    source = log.source
    try:
        stamp = source.stamp()
        log_id = source.sha256()
    except FileNotFoundError:
        return MOVED_ON, MOVED_ON
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        reason = f"can't be read ({error.strerror}); mend its rights"
        return NO_BYTES, refused(log, NO_BYTES, reason, run.now_ns)
    if (log_id, log.place) in known.received or log_id in known.taken:
        return log_id, log_id
    if claimed is not None and claimed != log_id:
        reason = f"its sha256 is {log_id[:12]}…, the robot stated {claimed[:12]}…: damaged on its way"
        return log_id, refused(log, log_id, reason, run.now_ns)
    if run.landing and (why := refusal(run.registry, run.landing, log, log_id)):
        return log_id, refused(log, log_id, why, run.now_ns)
    known.stamps[log.uri] = stamp
    return log_id, None


def _unmoved(run: Run, log: LandedLog) -> bool:
    """Whether the log's files are still those whose digest was taken."""
    try:
        stamp = run.known.stamps.pop(log.uri, None)
        return stamp is None or log.source.stamp() == stamp
    except OSError:
        return False


@dataclass(frozen=True)
class Item:
    """One log of a batch: staged, or only named because its bytes are known or didn't stay the same."""

    received: LandedLog
    log_id: str
    staged: Staged | None
    known: bool


def read(run: Run, fresh: Iterator[tuple[LandedLog, str | None]], workers: int) -> Iterator[Item]:
    """Logs read, in their order. Children read on while this process hashes, and commits what came."""
    if run.reader is not None:
        for log, claimed in fresh:
            log_id, outcome = _looked(run, log, claimed)
            if outcome is None:
                outcome = stage(run.place, log, log_id, run.embodiments, run.reader, run.now_ns)
            yield _item(run, log, outcome)
        return
    ahead: deque[tuple[LandedLog, str, Staged | str | Future[Staged]]] = deque()
    group: list[tuple[LandedLog, str]] = []  # small logs go to a child together
    size = grouped = 0

    def send() -> None:
        nonlocal grouped
        jobs = [
            ChildCall(
                ChildLimits.of(log.bytes), stage_log, (run.place, log, log_id, run.embodiments, run.now_ns)
            )
            for log, log_id in group
        ]
        ahead.extend(zip(*zip(*group, strict=True), children.submit(jobs), strict=True))
        group.clear()
        grouped = 0

    def first() -> Item:
        nonlocal size
        log, log_id, outcome = ahead.popleft()
        size -= log.bytes
        return _item(run, log, _come(run, log, log_id, outcome))

    with Children(workers) as children:
        for log, claimed in fresh:
            log_id, outcome = _looked(run, log, claimed)
            size += log.bytes
            if outcome is None:
                group.append((log, log_id))
                grouped += log.bytes
            if group and (outcome is not None or len(group) == GROUP_LOGS or grouped > GROUP_BYTES):
                send()
            if outcome is not None:
                ahead.append((log, log_id, outcome))
            # rows of logs read ahead lie in memory
            while ahead and (len(ahead) > AHEAD * workers or size > BATCH_BYTES * workers):
                yield first()
        if group:
            send()
        while ahead:
            yield first()


def _come(run: Run, log: LandedLog, log_id: str, outcome: Staged | str | Future[Staged]) -> Staged | str:
    if not isinstance(outcome, Future):
        return outcome
    try:
        return outcome.result()
    except Lost as lost:
        sweep(run.place, log_id, lost.pid)
        return refused(log, log_id, str(lost), run.now_ns, trace=lost.told or None)


def sweep(place: Location, log_id: str, pid: int) -> None:
    """Remove the shard a dead child was writing."""
    if not place.remote:
        for path in place.fs.glob(place.path("frames", "*", "*", f".{log_id[:32]}-*.{pid}-*.tmp")):
            place.fs.rm_file(path)


def _item(run: Run, log: LandedLog, outcome: Staged | str) -> Item:
    if isinstance(outcome, str):
        return Item(log, outcome, None, (outcome, log.place) in run.known.received)
    if log.robot is None and run.registry.robots and below(run.landing, log.uri) is not None:
        said = set(outcome.episodes.column("robot_id").to_pylist()) & set(run.registry.robots)
        if said:
            why = f"says it is of robot {min(said)}, which is enrolled, and lies outside its landing folder"
            outcome = refused(log, outcome.log_id, f"{why}; put it there with its signature", run.now_ns)
    if not _unmoved(run, log):
        return Item(log, MOVED_ON, outcome, False)  # its frames are there: an erasure may ask for them
    if outcome.state in TAKEN:
        run.known.taken.add(outcome.log_id)  # the same bytes further on are not read again
    return Item(log, outcome.log_id, outcome, False)


def read_anew(
    place: Location,
    logs: Iterable[tuple[LandedLog, str]],
    *,
    embodiments: Mapping[str, Embodiment],
    now_ns: int,
    workers: int = 1,
    reader: Reader | None = None,
) -> Iterator[Item]:
    """Logs read as an ingest reads them, committed nowhere; each comes with the digest it must have."""
    run = Run(place, embodiments, reader, now_ns, Known(set(), {}, set()))
    return read(run, iter(logs), workers)


def batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Items by the commit they go into: so many logs, or so many bytes of steps."""
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
