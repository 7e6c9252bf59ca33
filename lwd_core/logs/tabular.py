"""Data sets that are rows already: one row a control tick, episodes given.

LeRobot, npz and HDF5 sets share this way in: their readers give `TabularEpisode`, here they become episodes.
A *topic* of the embodiment is a column.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from lwd_core.logs import fields
from lwd_core.logs.aligned import Aligned, TickFrames
from lwd_core.logs.assemble import episode
from lwd_core.logs.content import EpisodeData, FrameSink, LogContent, UnreadableLog
from lwd_core.logs.notes import Notes
from lwd_core.logs.tabular_facts import facts
from storage_schemas.embodiment import Embodiment, Feature

VALID_COLUMN = "valid"  # as this platform exports it


@dataclass(frozen=True)
class TabularEpisode:
    """One episode of N rows, called ``name`` in its set.

    ``columns``: (N,) or (N, W) arrays. ``t_ns``: (N,) int64; left out, time is nominal, from 0 at the
    embodiment's rate. ``first``: number of its first row in the set; left out, episodes follow each other.
    ``final``: the state columns one row later, (W,), where the set holds them. ``frames``: by camera topic,
    encoded images per row, None where there is none.
    ``facts``: task, instruction, outcome, end, source, robot_id, …; unknown keys become attributes.
    ``sound``: (N,) False where the set contradicts itself about a row.
    """

    columns: Mapping[str, np.ndarray]
    t_ns: np.ndarray = field(default_factory=partial(np.empty, 0, np.int64))
    first: int = -1
    final: Mapping[str, np.ndarray] = field(default_factory=dict)
    frames: Mapping[str, Callable[[], Iterable[bytes | None]]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    sound: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.t_ns) or len(next(iter(self.columns.values()), ()))


def check_rate(hz: float, embodiment: Embodiment) -> None:
    """Rows are control ticks: the set's rate and the embodiment's must be one."""
    if abs(hz - embodiment.control_hz) > 0.01 * hz:
        raise UnreadableLog(
            f"its rows are at {hz:g} Hz, embodiment {embodiment.name} at {embodiment.control_hz:g}; "
            f"give it an embodiment with control_hz: {hz:g}"
        )


def tabular_content(
    sets: Iterable[TabularEpisode],
    embodiment: Embodiment,
    frames: FrameSink,
    log_format: str,
    damage: Notes,
    notes: Notes,
) -> LogContent:
    """Build the log's content; ``damage`` and ``notes`` may grow while ``sets`` is read.

    An episode that does not hold what the embodiment maps costs itself. Raises `UnreadableLog` where all do.
    """
    found: list[EpisodeData] = []
    refused: UnreadableLog | None = None
    refusals = Notes()
    count = lost = 0
    wider: Counter[tuple[str, int, int]] = Counter()
    for given in sets:
        rows = _placed(given, count, embodiment)
        count += len(rows)
        if not len(rows):
            notes.add("no rows, left out", rows.name)
            continue
        wider.update(_wider(rows, embodiment))
        try:
            found.append(_episode(len(found), rows, embodiment, frames, notes))
        except UnreadableLog as e:
            refused, lost = refused or e, lost + len(rows)
            refusals.add(f"{e}, left out", rows.name)
    if refused and not found:
        raise refused
    for (topic, width, end), n in wider.items():
        notes.add(f"column {topic}: {n} of {count} rows have {width} values, {end} are mapped")
    return LogContent(
        format=log_format,
        messages=count,
        episodes=tuple(found),
        messages_lost=None if damage else lost,
        salvaged="; ".join((*damage.lines, *refusals.lines)) or None,
        embodiment=embodiment.name,
        notes=notes.lines,
    )


def _placed(rows: TabularEpisode, before: int, embodiment: Embodiment) -> TabularEpisode:
    """Rows with their times, and their number in the set."""
    first = before if rows.first < 0 else rows.first
    t_ns = rows.t_ns if len(rows.t_ns) else ticks(np.arange(len(rows)), embodiment)
    return replace(rows, first=first, t_ns=t_ns)


def ticks(places: np.ndarray, embodiment: Embodiment) -> np.ndarray:
    """(N,) int64 ns of control ticks (N,) counted from 0, where nothing tells their time."""
    return np.rint(places * (1e9 / embodiment.control_hz)).astype(np.int64)


def _episode(
    index: int, rows: TabularEpisode, embodiment: Embodiment, sink: FrameSink, notes: Notes
) -> EpisodeData:
    n = len(rows)
    state = _matrix(embodiment.state, rows.columns, n)
    action = _matrix(embodiment.action, rows.columns, n)
    proposed = _matrix(embodiment.proposed, rows.columns, n)
    t = rows.t_ns
    if rows.final and all(f.topic in rows.final for f in embodiment.state):
        last = {k: np.asarray(v)[None] for k, v in rows.final.items()}
        state = np.concatenate([state, _matrix(embodiment.state, last, 1)])
        t = np.append(t, t[-1] + embodiment.period_ns)
    valid = np.asarray(np.isfinite(state).all(axis=1))
    valid[:n] &= np.isfinite(action).all(axis=1)
    if VALID_COLUMN in rows.columns and rows.columns[VALID_COLUMN].dtype == bool:
        valid[:n] &= rows.columns[VALID_COLUMN].reshape(n)
    if rows.sound is not None:
        valid[:n] &= rows.sound
    none = np.full(len(t), -1, dtype=np.int64)
    aligned = Aligned(
        t_ns=t,
        state=state,
        action=action,
        proposed=proposed,
        has_proposed=np.full(n, bool(embodiment.proposed)) & np.isfinite(proposed).all(axis=1),
        valid=valid,
        state_age=np.zeros(len(t), dtype=np.int64),
        action_age=np.where(np.arange(len(t)) < n, 0, -1),
        publish=none,
        header=none,
        frames=_frames(rows, embodiment, sink, len(t), valid),
    )
    known = facts(rows.columns, rows.facts, embodiment, n, len(t), rows.first, notes, rows.name)
    return episode(index, aligned, known, embodiment)


def _matrix(features: tuple[Feature, ...], columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """(N, D) float32 of the features side by side."""
    parts = [np.empty((n, 0), dtype=np.float32)]
    for feature in features:
        column = columns.get(feature.topic)
        if column is None:
            raise UnreadableLog(f"no column {feature.topic}, which the embodiment maps")
        values = column.reshape(n, -1) if column.dtype != object else column
        try:
            if feature.names_field or any(d.field for d in feature.dims):
                take = fields.vector(feature)
                values = np.array([take(row) for row in values], dtype=np.float64).reshape(n, -1)
            else:
                values = values[:, feature.start : feature.start + len(feature.dims)]
            with np.errstate(over="ignore"):
                values = values.astype(np.float32)
        except (fields.FieldMissing, IndexError, ValueError, TypeError) as e:
            raise UnreadableLog(
                f"column {feature.topic} holds no vectors as the embodiment maps ({e})"
            ) from e
        if values.shape[1] != len(feature.dims):
            raise UnreadableLog(
                f"column {feature.topic} is {column.shape[-1]} wide, the embodiment maps "
                f"{feature.start + len(feature.dims)} of it"
            )
        parts.append(values)
    return np.concatenate(parts, axis=1)


def _wider(rows: TabularEpisode, embodiment: Embodiment) -> dict[tuple[str, int, int], int]:
    """Rows of columns that go on behind what the embodiment maps of them, by column, width and that end."""
    ends: dict[str, int] = {}
    for (topic, _), end in fields.mapped(
        (*embodiment.state, *embodiment.action, *embodiment.proposed)
    ).items():
        ends[topic] = max(ends.get(topic, 0), end)
    n = len(rows)
    widths = {t: c.size // n for t in ends if (c := rows.columns.get(t)) is not None and c.dtype != object}
    return {(t, width, ends[t]): n for t, width in widths.items() if width > ends[t]}


def _frames(
    rows: TabularEpisode, embodiment: Embodiment, sink: FrameSink, ticks: int, valid: np.ndarray
) -> TickFrames | None:
    if not embodiment.cameras:
        return None
    shown: list[tuple[int, str, str, int, int, int]] = []
    for camera in embodiment.cameras:
        seen = np.zeros(ticks, dtype=bool)
        images = rows.frames[camera.topic]() if camera.topic in rows.frames else ()
        for row, (t, image) in enumerate(zip(rows.t_ns.tolist(), images, strict=False)):
            if image:
                shown.append((row, camera.name, *sink.put(camera.name, t, image), t))
                seen[row] = True
        if camera.required:
            valid[: len(rows)] &= seen[: len(rows)]
    shown.sort(key=lambda s: s[0])
    row, name, shard, offset, size, t_ns = zip(*shown, strict=True) if shown else ((),) * 6
    return TickFrames(
        np.array(name, dtype=object),
        np.array(shard, dtype=object),
        np.array(offset, dtype=np.int64),
        np.array(size, dtype=np.int64),
        np.array(t_ns, dtype=np.int64),
        np.bincount(np.array(row, dtype=np.int64), minlength=ticks),
    )
