"""A recording taken apart before it is aligned: by the drivers that share a topic, by restarts of its time.

What is left are recordings and features as alignment knows them: every message has every dim.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.fields import is_absent
from lwd_core.logs.recording import Frames, MessageLog, Series
from lwd_core.logs.restarts import restarts
from storage_schemas.embodiment import Embodiment, Feature

_NAMED = 3  # restarts that are named, the rest are counted


def by_driver(recording: MessageLog, embodiment: Embodiment) -> tuple[MessageLog, Embodiment]:
    """Features of which messages hold only some dims, as several: dims that come in the same messages each.

    So every dim has its own last value and age, and the order of dims stays. Raises `UnreadableLog` for a
    dim that no message holds.
    """
    notes: list[str] = []
    split: dict[str, tuple[tuple[Feature, ...], tuple[Series, ...]]] = {}
    for kind in ("state", "action", "proposed"):
        pairs = zip(getattr(embodiment, kind), getattr(recording, kind), strict=True)
        parts = [part for feature, series in pairs for part in _drivers(feature, series, notes)]
        split[kind] = tuple(f for f, _ in parts), tuple(s for _, s in parts)
    if not notes:
        return recording, embodiment
    features = {kind: f for kind, (f, _) in split.items()}
    series = {kind: s for kind, (_, s) in split.items()}
    notes = list(dict.fromkeys((*recording.notes, *notes)))
    return replace(recording, **series, notes=tuple(notes)), replace(embodiment, **features)


def _drivers(feature: Feature, series: Series, notes: list[str]) -> Iterator[tuple[Feature, Series]]:
    absent = is_absent(series.values)
    if not absent.any():
        yield feature, series
        return
    if lost := [d.name for d, column in zip(feature.dims, absent.T, strict=True) if column.all()]:
        raise UnreadableLog(
            f"no message of {feature.topic} holds {', '.join(lost)}; name the dims by keys that its messages "
            "have"
        )
    count = int(absent.any(axis=1).sum())
    notes.append(
        f"{feature.topic}: {count} of {len(series)} messages hold only some of its dims; every dim has its "
        "own last value and age"
    )
    edges = np.flatnonzero((absent[:, 1:] != absent[:, :-1]).any(axis=0)) + 1
    for dims in np.split(np.arange(len(feature.dims)), edges):
        held = taken(series, ~absent[:, dims[0]])
        yield (
            replace(feature, dims=tuple(feature.dims[i] for i in dims)),
            replace(held, values=held.values[:, dims]),
        )


def by_restart(recording: MessageLog, embodiment: Embodiment) -> list[MessageLog]:
    """A recording for each time that time starts again; the whole one where the boundary is another."""
    if embodiment.episodes.boundary != "restart":
        return [recording]
    leading = [s for s in (*recording.state, *recording.action) if len(s)]
    if not leading:
        return [recording]
    clock = embodiment.time.clock if embodiment.time.clock in ("publish", "header") else "log"
    index = np.concatenate([s.index for s in leading])
    order = np.argsort(index, kind="stable")
    times = np.concatenate([getattr(s, clock) for s in leading])[order]
    cuts = index[order][restarts(times, embodiment.period_ns)].tolist()
    if cuts:
        more = f" and {len(cuts) - _NAMED} more" if len(cuts) > _NAMED else ""
        note = f"time starts again at message {', '.join(map(str, cuts[:_NAMED]))}{more}: an episode each"
        recording = replace(recording, notes=(*recording.notes, note))
    return [_between(recording, a, b) for a, b in pairwise([0, *cuts, np.iinfo(np.int64).max])]


def _between(recording: MessageLog, first: int, stop: int) -> MessageLog:
    def cut(series: Series) -> Series:
        return taken(series, (series.index >= first) & (series.index < stop))

    many = {kind: tuple(map(cut, getattr(recording, kind))) for kind in ("state", "action", "proposed")}
    one = {
        kind: cut(series) if (series := getattr(recording, kind)) is not None else None
        for kind in ("actor", "events", "outcome", "flag", "ticks")
    }
    cameras = {name: cut(series) for name, series in recording.cameras.items()}
    return replace(recording, **many, **one, cameras=cameras)


def taken(series: Series, mask: np.ndarray) -> Series:
    """The messages of a series that (N,) ``mask`` holds."""
    values = series.values
    if isinstance(values, np.ndarray):
        values = values[mask]
    elif isinstance(values, Frames):
        values = Frames(values.shard[mask], values.offset[mask], values.size[mask])
    else:
        values = [values[i] for i in np.flatnonzero(mask)]
    return Series(series.log[mask], series.publish[mask], series.header[mask], series.index[mask], values)


def joined(contents: Sequence[LogContent | UnreadableLog]) -> LogContent:
    """One log's parts as one log. Raises the first part's `UnreadableLog` where no part can be read."""
    read = [c for c in contents if isinstance(c, LogContent)]
    if not read:
        raise next(c for c in contents if isinstance(c, UnreadableLog))
    episodes = [e for content in read for e in content.episodes]
    faults = [f"part {i}: {c}" for i, c in enumerate(contents) if isinstance(c, UnreadableLog)]
    notes = dict.fromkeys((*(n for content in read for n in content.notes), *faults))
    return replace(
        read[0],
        episodes=tuple(replace(e, index_in_log=i) for i, e in enumerate(episodes)),
        notes=tuple(notes),
    )
