"""A recording in parts, cut where its clock was set; what held at a cut is carried across it.

Actor, flag and an episode under way stand until the next message of their topic; that one may lie in
the part before.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lwd_core.logs.clock import Clock
from lwd_core.logs.recording import Frames, MessageLog, Series
from lwd_core.logs.steps import Track, outliers, steps
from storage_schemas.embodiment import Embodiment

Change = Callable[[str, Series], Series]


def parts(recording: MessageLog, embodiment: Embodiment, clock: Clock) -> Iterator[MessageLog]:
    """The recording between the steps of its clock, in file order, each step named in the clock's notes.

    Raises `UnreadableLog` where the clock was set all the time.
    """
    if clock.kind == "nominal":  # stamps do not count
        yield recording
        return
    recording = _mapped(recording, embodiment, lambda topic, s: _without_outliers(topic, s, clock))
    found, alone = steps(_tracks(recording, embodiment, clock))
    for topic, step in alone.items():
        clock.notes.append(f"{topic}: {step}, alone: left out from there on")
    last: dict[str, int] = {topic: step.number for topic, step in alone.items()}
    recording = _mapped(
        recording, embodiment, lambda topic, s: _within(s, 0, last[topic]) if topic in last else s
    )
    if not found:
        yield recording
        return
    clock.notes += [f"{step}: the episode is cut there" for step in found]
    cuts = [0, *(step.number for step in found), recording.messages]
    for first, stop in pairwise(cuts):
        part = _mapped(recording, embodiment, lambda _, s, a=first, b=stop: _within(s, a, b))
        part = _carried(recording, part, embodiment, clock, first) if first else part
        yield replace(part, cut=stop != recording.messages)


def _tracks(recording: MessageLog, embodiment: Embodiment, clock: Clock) -> list[Track]:
    """Every topic once, the one that ticks come from first."""
    found: dict[str, Track] = {}

    def look(topic: str, series: Series) -> Series:
        if topic not in found and len(series):
            found[topic] = Track(topic, series.index, clock.stamps(series), clock.others(series))
        return series

    if recording.ticks is not None and embodiment.time.ticks:
        look(embodiment.time.ticks, recording.ticks)
    _mapped(recording, embodiment, look)
    return list(found.values())


def _without_outliers(topic: str, series: Series, clock: Clock) -> Series:
    odd = outliers(clock.stamps(series))
    if not odd.any():
        return series
    clock.notes.append(f"{topic}: {int(odd.sum())} messages stamped far from their neighbours left out")
    return _taken(series, np.flatnonzero(~odd))


def _mapped(recording: MessageLog, embodiment: Embodiment, change: Change) -> MessageLog:
    """The recording with every series changed; ``change`` is told its topic."""

    def features(kind: str) -> tuple[Series, ...]:
        pairs = zip(getattr(embodiment, kind), getattr(recording, kind), strict=True)
        return tuple(change(feature.topic, series) for feature, series in pairs)

    single = {
        "actor": embodiment.actor.topic,
        "events": embodiment.events.topic if embodiment.events else None,
        "outcome": embodiment.outcome.topic,
        "flag": embodiment.episodes.topic,
        "ticks": embodiment.time.ticks,
    }
    changed = {
        name: change(topic or name, series)
        for name, topic in single.items()
        if (series := getattr(recording, name)) is not None
    }
    return replace(
        recording,
        state=features("state"),
        action=features("action"),
        proposed=features("proposed"),
        cameras={c.name: change(c.topic, recording.cameras[c.name]) for c in embodiment.cameras},
        **changed,
    )


def _within(series: Series, first: int, stop: int) -> Series:
    """Its messages with numbers in [first, stop)."""
    a, b = np.searchsorted(series.index, (first, stop))
    return _taken(series, slice(int(a), int(b)))


def _taken(series: Series, at: slice | np.ndarray) -> Series:
    """Its messages at some places."""
    values = series.values
    if isinstance(values, Frames):
        values = Frames(values.shard[at], values.offset[at], values.size[at])
    elif isinstance(values, np.ndarray) or isinstance(at, slice):
        values = values[at]
    else:
        values = [values[i] for i in at.tolist()]
    return Series(series.log[at], series.publish[at], series.header[at], series.index[at], values)


def _carried(
    recording: MessageLog, part: MessageLog, embodiment: Embodiment, clock: Clock, first: int
) -> MessageLog:
    """The part with what held before message ``first``, stamped with the part's first moment."""
    stamped = [clock.stamps(s) for s in (*part.state, *part.action) if len(s)]
    if not stamped:
        return part
    t = min(int(s.min()) for s in stamped)

    def preceded(name: str, places: list[int]) -> Series | None:
        series: Series | None = getattr(recording, name)
        own: Series | None = getattr(part, name)
        if series is None or own is None or not places:
            return own
        said = [series.values[i] for i in places]
        stamps = np.full(len(said), t, dtype=np.int64)
        log, publish, header = (np.append(stamps, s) for s in (own.log, own.publish, own.header))
        index = np.append(np.full(len(said), first, dtype=np.int64), own.index)
        return Series(log, publish, header, index, [*said, *own.values])

    def before(name: str) -> int:
        series = getattr(recording, name)
        return 0 if series is None else int(np.searchsorted(series.index, first))

    return replace(
        part,
        actor=preceded("actor", [before("actor") - 1][: before("actor")]),
        flag=preceded("flag", [before("flag") - 1][: before("flag")]),
        events=preceded("events", _under_way(recording, embodiment, before("events"))),
    )


def _under_way(recording: MessageLog, embodiment: Embodiment, stop: int) -> list[int]:
    """Places of the events before ``stop`` that still hold: an episode's start, an intervention."""
    rule, series = embodiment.events, recording.events
    begun, taken = -1, -1
    if rule and series is not None:
        for i in range(stop):
            kind = series.values[i][0]
            if kind in rule.start:
                begun, taken = i, -1
            elif kind in rule.end:
                begun = taken = -1
            elif kind in rule.intervention_on:
                taken = i
            elif kind in rule.intervention_off:
                taken = -1
    return [i for i in (begun, taken) if i >= 0]
