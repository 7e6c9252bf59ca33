"""Time as logs have it: which clock counts, and what is done when it misbehaves.

The rules, each named in the log's notes when it acts:

- *collapsed* stamps (messages written in one go): the next clock of header, publish, log that is sound
  counts for the whole log; if none is, the log is unreadable and the remedy is named;
- a clock that *runs backwards*: likewise;
- a clock that was *set*: the log is cut there, see `steps`;
- *disorder* otherwise (late messages, unsorted chunks): sorted;
- *duplicates* on one topic: the last written counts;
- silences are gaps between ticks, flagged in the steps.
"""

from dataclasses import dataclass

import numpy as np

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.fields import NO_STAMP
from lwd_core.logs.recording import MessageLog, Series
from lwd_core.logs.steps import runs_backwards
from storage_schemas.embodiment import Embodiment

COLLAPSED_NS = 100_000  # faster than 10 kHz: no robot's topic
_CLOCKS = ("header", "publish", "log")


@dataclass(frozen=True)
class Timed:
    """A series in time: ``t`` (M,) int64 ns strictly ascending, ``at`` (M,) places in the series."""

    t: np.ndarray
    at: np.ndarray

    def latest(self, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latest message at or before each tick.

        Returns places in the series, -1 where there is none, and ages in ns, -1 likewise.
        """
        place = np.searchsorted(self.t, ticks, side="right") - 1
        if not len(self.t):
            return place, np.full(len(ticks), -1, dtype=np.int64)
        age = np.where(place >= 0, ticks - self.t[place], -1)
        return np.where(place >= 0, self.at[place], -1), age

    def between(self, start: int, stop: int) -> tuple[int, int]:
        """Places in ``t`` of [start, stop] ns, as of a slice."""
        first, last = np.searchsorted(self.t, start, side="left"), np.searchsorted(self.t, stop, side="right")
        return int(first), int(max(first, last))

    def places(self, first: int, last: int) -> "Timed":
        """The messages at these places alone."""
        return Timed(self.t[first:last], self.at[first:last])


class Clock:
    """Gives every series of one recording its times, by one clock and the rules above."""

    def __init__(self, recording: MessageLog, embodiment: Embodiment) -> None:
        self.notes: list[str] = []
        self._period = embodiment.period_ns
        self._ticks = recording.ticks
        self.kind = embodiment.time.clock
        if self.kind != "nominal":
            self.kind = self._sound(recording, embodiment)

    def _sound(self, recording: MessageLog, embodiment: Embodiment) -> str:
        named = list(zip(embodiment.state, recording.state, strict=True))
        named += list(zip(embodiment.action, recording.action, strict=True))
        asked = embodiment.time.clock
        for kind in (asked, *(c for c in _CLOCKS if c != asked)):
            faults = []
            for feature, series in named:
                ticking = feature.topic == embodiment.time.ticks
                if fault := _fault(series, kind, self._period if ticking else 0):
                    faults.append(f"{feature.topic}: {fault}")
            if not faults:
                return kind
            self.notes.append(f"{kind} time not used ({faults[0]})")
        raise UnreadableLog(
            f"no clock of the log is sound: {'; '.join(self.notes)}; "
            "`time: {clock: nominal, ticks: TOPIC}` lays messages out at the control rate"
        )

    def stamps(self, series: Series) -> np.ndarray:
        """(N,) times of the messages in file order, faults and all."""
        if self.kind != "nominal":
            return _stamps(series, self.kind)
        assert self._ticks is not None
        tick = np.searchsorted(self._ticks.index, series.index, side="right") - 1
        return (self._ticks.log[0] if len(self._ticks) else 0) + tick * self._period

    def others(self, series: Series) -> tuple[np.ndarray, ...]:
        """(N,) times of the messages by the other clocks that all of them have."""
        own = self.stamps(series)
        found = (_stamps(series, kind) for kind in _CLOCKS if kind != self.kind)
        return tuple(t for t in found if not (t == NO_STAMP).any() and not np.array_equal(t, own))

    def time(self, topic: str, series: Series) -> Timed:
        """The series in time, faults mended by rule and noted."""
        t = self.stamps(series)
        at = np.arange(len(t))
        if len(t) > 1 and (t[1:] < t[:-1]).any():
            late = int((t < np.maximum.accumulate(t)).sum())
            self.notes.append(f"{topic}: {late} messages out of order, sorted")
            at = np.argsort(t, kind="stable")
            t = t[at]
        if len(t) > 1:
            last = np.append(t[1:] != t[:-1], True)
            if repeated := int((~last).sum()):
                if self.kind != "nominal":
                    self.notes.append(f"{topic}: {repeated} duplicate stamps, the last of each counts")
                t, at = t[last], at[last]
        return Timed(t, at)


def _stamps(series: Series, kind: str) -> np.ndarray:
    """(N,) times of one clock: log, publish or header."""
    return {"log": series.log, "publish": series.publish, "header": series.header}[kind]


def _fault(series: Series, kind: str, period: int) -> str | None:
    """Why this clock cannot be used on this series; ``period`` is the expected one, 0 if unknown."""
    t = _stamps(series, kind)
    if not len(t):
        return None
    if kind == "header" and (t == NO_STAMP).any():
        return "no stamps"
    if runs_backwards(t):
        return "stamps run backwards"
    if len(t) < 10:
        return None
    middle = int(np.median(np.abs(np.diff(t))))
    span = (t.max() - t.min()) / 1e9
    if middle < max(COLLAPSED_NS, period // 4):
        return f"stamps collapsed, {len(t)} messages in {span:.3f} s"
    header = series.header
    if kind != "header" and (header != NO_STAMP).all():
        sensor = int(np.median(np.abs(np.diff(header))))
        if middle < sensor // 10:
            apart = f"{sensor / 1e9:.3f} s apart by the sensor's clock"
            return f"stamps collapsed, {len(t)} messages in {span:.3f} s, {apart}"
    return None
