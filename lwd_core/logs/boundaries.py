"""Where episodes begin and end in a recording, by the embodiment's boundary rule."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lwd_core.logs.clock import Clock
from lwd_core.logs.recording import MessageLog
from storage_schemas.embodiment import Embodiment, EventRule

_UP = frozenset({"true", "1", "1.0"})


@dataclass(frozen=True)
class Event:
    """An event in time."""

    t_ns: int
    kind: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class EpisodeSpan:
    """An episode's time. ``closed``: the log says where it ends; ``stop`` is the last action's time.

    ``said`` are its start event's attributes, ``end`` what its end event says.
    """

    start: int
    stop: int
    closed: bool
    said: dict[str, str] = field(default_factory=dict)
    end: str | None = None

    def reach(self, embodiment: Embodiment) -> int:
        """Last time that belongs: the state after the last action may follow the end."""
        return self.stop + 3 * embodiment.period_ns // 2 if self.closed else self.stop


def events_of(recording: MessageLog, clock: Clock) -> list[Event]:
    """All events in order of time. Several at one moment are all meant: none is dropped."""
    series = recording.events
    if series is None:
        return []
    t = clock.stamps(series)
    return [Event(int(t[i]), *series.values[i]) for i in np.argsort(t, kind="stable").tolist()]


def spans(
    recording: MessageLog, embodiment: Embodiment, clock: Clock, lead: np.ndarray, events: list[Event]
) -> Iterator[EpisodeSpan]:
    """Episodes in order of time. ``lead``: times of the messages ticks come from."""
    if not len(lead):
        return
    rule, first, last = embodiment.episodes, int(lead[0]), int(lead[-1])
    whole = recording.salvaged is None and not recording.cut  # the end of a damaged log is not where it ended
    if rule.boundary == "events" and embodiment.events:
        yield from _by_events(embodiment.events, events, last)
    elif rule.boundary == "flag" and rule.topic and recording.flag is not None:
        flag = clock.time(rule.topic, recording.flag)
        up = [recording.flag.values[i][0].lower() in _UP for i in flag.at.tolist()]
        yield from _by_flag(list(zip(flag.t.tolist(), up, strict=True)), last)
    elif rule.boundary == "gap":
        for run in np.split(lead, np.flatnonzero(np.diff(lead) > rule.gap_s * 1e9) + 1):
            yield EpisodeSpan(int(run[0]), int(run[-1]), closed=whole)
    elif rule.boundary in ("log", "restart"):
        yield EpisodeSpan(first, last, closed=whole)


def _by_events(rule: EventRule, events: list[Event], last: int) -> Iterator[EpisodeSpan]:
    begun: Event | None = None
    for event in events:
        if event.kind in rule.start:
            if begun is not None:
                yield EpisodeSpan(begun.t_ns, event.t_ns - 1, closed=False, said=begun.attributes)
            begun = event
        elif event.kind in rule.end and begun is not None:
            said = {**begun.attributes, **{k: v for k, v in event.attributes.items() if k != "end"}}
            yield EpisodeSpan(begun.t_ns, event.t_ns, True, said, event.attributes.get("end"))
            begun = None
    if begun is not None and last >= begun.t_ns:
        yield EpisodeSpan(begun.t_ns, last, closed=False, said=begun.attributes)


def _by_flag(flag: list[tuple[int, bool]], last: int) -> Iterator[EpisodeSpan]:
    begun: int | None = None
    for t, up in flag:
        if up and begun is None:
            begun = t
        elif not up and begun is not None:
            yield EpisodeSpan(begun, t, closed=True)
            begun = None
    if begun is not None:
        yield EpisodeSpan(begun, last, closed=False)
