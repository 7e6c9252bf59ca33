"""One raw log on its way in: read, checked, turned into rows, or refused with a reason."""

import errno
import hashlib
import json
import shlex
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import StorageError, UserError
from lwd_core.ingest.landing import LandedLog
from lwd_core.ingest.provenance import Meaning, keep
from lwd_core.lake.conform import conform
from lwd_core.lake.frames import FrameShards, utc_day
from lwd_core.lake.same_recording import content
from lwd_core.logs.content import EpisodeData, FrameSink, LogContent, UnreadableLog
from lwd_core.logs.faults import fault, lacked_memory, out_of_room
from lwd_core.logs.source import LogSource
from lwd_core.storage.location import Location
from lwd_core.storage.relative import plain
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import EPISODES, LOGS, SEGMENTS, STEPS
from storage_schemas.vocabulary import Actor, LogState, SegmentKind

Reader = Callable[[LogSource, Mapping[str, Embodiment], FrameSink], LogContent]

_CLOCK_SET_NS = 946_684_800_000_000_000  # the year 2000: a clock that says less was never set

# the machine's trouble, not the log's
_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True)
class Staged:
    """What one log gives each table. ``state`` is its fate, unless it turns out to be there already.

    ``trace`` is the reader's traceback where the reader itself failed.
    """

    log_id: str
    received: LandedLog
    state: LogState
    logs: pa.Table
    episodes: pa.Table
    steps: pa.Table
    segments: pa.Table
    trace: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Tables travel as Arrow streams: pickled, a slice would take along all it was cut from."""
        stream = pa.BufferOutputStream()
        for name in _TABLES:
            table = getattr(self, name)
            with pa.ipc.new_stream(stream, table.schema) as writer:
                writer.write_table(table)
        return _unpacked, (self.log_id, self.received, self.state, self.trace, stream.getvalue().to_pybytes())


_TABLES = ("logs", "episodes", "steps", "segments")


def _unpacked(log_id: str, received: LandedLog, state: LogState, trace: str | None, streams: bytes) -> Staged:
    source = pa.BufferReader(streams)
    tables = {name: pa.ipc.open_stream(source).read_all() for name in _TABLES}
    return Staged(log_id, received, state, **tables, trace=trace)


def stage(
    place: Location,
    received: LandedLog,
    log_id: str,
    embodiments: Mapping[str, Embodiment],
    reader: Reader,
    now_ns: int,
) -> Staged:
    """Read one log; frames go to the lake's shards at once, rows are returned.

    Whatever is wrong with the log ends in the state quarantined, and so does a fault of the reader, with its
    traceback. Raises ``OSError`` when disk or network fail, ``MemoryError`` where the reader lacked memory,
    also where it took that for damage of a part: what is read must not depend on what there was.
    """
    try:
        with FrameShards(place, log_id, received.site or "local", received.day, received.mark) as frames:
            content = reader(received.source, embodiments, frames)
            if lacked_memory(content.salvaged or "", *content.notes):
                raise MemoryError(content.salvaged)
            staged = _accepted(received, log_id, content, embodiments, now_ns)
        for name in {data.embodiment for data in content.episodes} & embodiments.keys():
            keep(place, embodiments[name])
        return staged
    except Exception as error:
        return _refusal(error, received, log_id, now_ns)


def _refusal(error: Exception, received: LandedLog, log_id: str, now_ns: int) -> Staged:
    """What a reader's exception makes of its log. Raises what is not the log's fault."""
    if out_of_room(error):
        raise MemoryError from error
    try:
        raise error
    except (StorageError, ConnectionError, TimeoutError):
        raise
    except OSError as error:
        if error.errno in _OURS:
            raise
        return refused(received, log_id, _line(error), now_ns)
    except (UnreadableLog, UserError) as error:
        tried = error.format if isinstance(error, UnreadableLog) else "unknown"
        return refused(received, log_id, _line(error), now_ns, tried)
    except Exception as error:
        # bytes nobody foresaw must not stop the logs behind them
        trace = "".join(traceback.format_exception(error))
        return refused(received, log_id, fault(error), now_ns, trace=trace)


def stage_log(
    place: Location, received: LandedLog, log_id: str, embodiments: Mapping[str, Embodiment], now_ns: int
) -> Staged:
    """`stage` by the readers of every format; what a child is asked to do."""
    from lwd_core.logs.read import read_log  # costly, and needed where logs are read alone

    return stage(place, received, log_id, embodiments, read_log, now_ns)


def refused(
    received: LandedLog,
    log_id: str,
    reason: str,
    now_ns: int,
    log_format: str = "unknown",
    trace: str | None = None,
) -> Staged:
    """A log that goes to quarantine."""
    row = _log_row(received, log_id, LogState.QUARANTINED, reason, now_ns, log_format=log_format)
    empty = (t.schema.empty_table() for t in (EPISODES, STEPS, SEGMENTS))
    return Staged(log_id, received, LogState.QUARANTINED, row, *empty, trace=trace)


def duplicate(received: LandedLog, log_id: str, now_ns: int) -> pa.Table:
    """The row of a log whose bytes are in the lake under another name."""
    return _log_row(received, log_id, LogState.DUPLICATE, "same bytes as a log already in the lake", now_ns)


def episode_id(log_id: str, index: int) -> str:
    """Opaque, and the same whenever and wherever the log is read."""
    return hashlib.sha256(f"{log_id}/{index}".encode()).hexdigest()[:32]


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, UnreadableLog | UserError) else f"{type(error).__name__}: {text}"


def _log_row(
    received: LandedLog,
    log_id: str,
    state: LogState,
    reason: str | None,
    now_ns: int,
    content: LogContent | None = None,
    embodiment: Embodiment | None = None,
    log_format: str = "unknown",
) -> pa.Table:
    first = content.episodes[0] if content and content.episodes else None
    start = first.steps["t_ns"][0].as_py() if first is not None and first.steps.num_rows else now_ns
    row = {
        "log_id": log_id,
        "uri": received.place,
        "site": received.site or (first.site if first is not None else None) or "local",
        "day": received.day or utc_day(start),
        "robot_id": received.robot or (first.robot_id if first is not None else None) or "unknown",
        "format": content.format if content else log_format,
        "bytes": received.bytes,
        "state": str(state),
        "reason": reason,
        "messages": content.messages if content else 0,
        "messages_lost": content.messages_lost if content else None,
        "episodes": len(content.episodes) if content else 0,
        "embodiment": content.embodiment if content else None,
        "created_ns": now_ns,
        "embodiment_digest": embodiment.digest if embodiment else None,
    }
    return conform(LOGS, pa.Table.from_pylist([row], schema=LOGS.schema))


def _dated(received: LandedLog, content: LogContent) -> LandedLog:
    """The log with the day of its first episode whose clock was set, where it has one whose wasn't."""
    starts = [e.steps["t_ns"][0].as_py() for e in content.episodes if e.steps.num_rows]
    sound = [t for t in starts if t >= _CLOCK_SET_NS]
    if received.day or not sound or len(sound) == len(starts):
        return received
    return replace(received, day=utc_day(sound[0]))


def _accepted(
    received: LandedLog,
    log_id: str,
    content: LogContent,
    embodiments: Mapping[str, Embodiment],
    now_ns: int,
) -> Staged:
    odd = {e.site for e in content.episodes if e.site and not plain(e.site)} if not received.site else set()
    if odd:
        raise UserError(
            f"its site {min(odd)!r} names no folder; give one of letters, digits, dot, dash and underscore: "
            f"`lwd ingest {shlex.quote(received.place)} --site NAME`"
        )
    if content.salvaged and not content.episodes:
        raise UnreadableLog(f"{content.salvaged}; no episode could be salvaged")
    received = _dated(received, content)
    state = LogState.SALVAGED if content.salvaged else LogState.ACCEPTED
    episodes, steps, segments = [], [], []
    nowhere = 0
    for data in content.episodes:
        if data.steps.num_rows == 0:
            raise ValueError(f"episode {data.index_in_log} has no step")
        rows, bad = masked(data.steps)
        data, nowhere = replace(data, steps=rows), nowhere + bad
        meaning = Meaning.of(embodiments.get(data.embodiment), content.format, content.reader)
        row = _episode_row(received, log_id, data, now_ns) | asdict(meaning) | {"reading": meaning.reading}
        shared = {name: row[name] for name in ("episode_id", "log_id", "site", "day", "reading")}
        episodes.append(row)
        steps.append(conform(STEPS, _with(data.steps, shared)))
        segments.append(conform(SEGMENTS, _with(data.segments, shared)))
    reasons = [received.note or "", content.salvaged or "; ".join(content.notes)]
    if nowhere:
        rows = sum(data.steps.num_rows for data in content.episodes)
        reasons.append(f"{nowhere} of {rows} steps hold what is not a number, masked")
    if not episodes:
        reasons.append(f"no episode is in it ({content.messages} messages)")
    reason = "; ".join(filter(None, reasons)) or None
    embodiment = embodiments.get(content.embodiment or "")
    log = _log_row(received, log_id, state, reason, now_ns, content, embodiment)
    return Staged(
        log_id,
        received,
        state,
        log,
        conform(EPISODES, pa.Table.from_pylist(episodes, schema=EPISODES.schema)),
        pa.concat_tables(steps) if steps else STEPS.schema.empty_table(),
        pa.concat_tables(segments) if segments else SEGMENTS.schema.empty_table(),
    )


def masked(steps: pa.Table) -> tuple[pa.Table, int]:
    """Steps whose vectors are finite or not valid, and how many hold a number that is not finite.

    What a reader could tell of a step stays as it is; the mask says what it is worth.
    """
    finite = _finite(steps["state"]) & _finite(steps["action"])
    bad = len(finite) - int(np.count_nonzero(finite))
    if bad:
        valid = pc.and_(steps["valid"], pa.array(finite))
        steps = steps.set_column(steps.column_names.index("valid"), steps.schema.field("valid"), valid)
    return steps, bad


def _finite(vectors: pa.ChunkedArray) -> np.ndarray:
    """(N,) whether every number of a row's list is finite."""
    column = vectors.combine_chunks() if vectors.num_chunks != 1 else vectors.chunk(0)
    flat = np.isfinite(column.flatten().to_numpy(zero_copy_only=False))
    whole = np.ones(len(column), bool)
    if not flat.all():
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        whole[np.repeat(np.arange(len(column)), lengths)[~flat]] = False
    return whole


def _with(rows: pa.Table, shared: Mapping[str, object]) -> pa.Table:
    rows = rows.drop_columns([name for name in shared if name in rows.column_names])
    for name, value in shared.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.string()), rows.num_rows))
    return rows


def _episode_row(received: LandedLog, log_id: str, data: EpisodeData, now_ns: int) -> dict[str, object]:
    t_ns = data.steps["t_ns"]
    actors = data.steps["actor"].slice(0, data.actions)
    return {
        "episode_id": episode_id(log_id, data.index_in_log),
        "log_id": log_id,
        "index_in_log": data.index_in_log,
        "site": received.site or data.site or "local",
        "day": received.day or utc_day(t_ns[0].as_py()),
        "robot_id": received.robot or data.robot_id or "unknown",
        "embodiment": data.embodiment,
        "task": data.task,
        "instruction": data.instruction,
        "policy_id": data.policy_id,
        "source": data.source,
        "outcome": data.outcome,
        "outcome_from": data.outcome_from,
        "end": data.end,
        "steps": data.actions,
        "human_steps": pc.sum(pc.equal(actors, Actor.HUMAN)).as_py() or 0,
        "interventions": pc.sum(pc.equal(data.segments["kind"], SegmentKind.INTERVENTION)).as_py() or 0,
        "start_ns": t_ns[0].as_py(),
        "end_ns": t_ns[-1].as_py(),
        "control_hz": data.control_hz,
        "first_message": data.first_message,
        "last_message": data.last_message,
        "attributes": json.dumps(dict(data.attributes), sort_keys=True),
        "created_ns": now_ns,
        "content": content(data.task, data.steps, data.actions),
    }
