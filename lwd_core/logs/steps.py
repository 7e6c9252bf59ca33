"""Where a log's clock was set while it was recorded, and the parts that lie between.

File order is the order of events; stamps that contradict it are either stored out of order, or the clock
was set. Stored out of order, a topic's stamps are regular once they are sorted. Set back, they are not: two
runs lie over one another, or apart. Set forward looks like a silence; another clock of the same messages
tells, or topics written in between that do not leap, or more than an hour does. A clock all topics share
cuts the log; a topic that steps alone is left out from there on, as nothing tells how it lies beside the
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwd_core.logs.content import UnreadableLog

HOUR_NS = 3_600_000_000_000
_SECOND_NS = 1_000_000_000
_MOST = 64  # steps of one log; a clock that is set more often orders nothing
_CLOSE = 0.6  # of a period: nearer than this, two messages of a topic are of two runs
_APART = 5  # periods between runs that are not one recording
_AROUND = 200  # messages before and after a step that say how two clocks differ


@dataclass(frozen=True)
class Track:
    """A topic's messages in file order: numbers in the log, times (N,) ns by the clock that counts, and
    by others."""

    topic: str
    number: np.ndarray
    t: np.ndarray
    others: tuple[np.ndarray, ...] = ()

    def within(self, first: int, last: int | None = None) -> "Track":
        """Its messages from number ``first`` on, before ``last``."""
        a = int(np.searchsorted(self.number, first))
        b = len(self.number) if last is None else int(np.searchsorted(self.number, last))
        return Track(self.topic, self.number[a:b], self.t[a:b], tuple(o[a:b] for o in self.others))

    @property
    def period(self) -> int:
        """The usual time between its messages, ns."""
        return int(np.median(np.abs(np.diff(self.t)))) if len(self.t) > 1 else 0


@dataclass(frozen=True)
class ClockStep:
    """The clock was set by ``by`` ns (back if negative) before message ``number``."""

    number: int
    by: int

    def __str__(self) -> str:
        direction = "back" if self.by < 0 else "forward"
        return f"clock set {direction} by {abs(self.by) / 1e9:.3f} s at message {self.number}"


def steps(tracks: Sequence[Track]) -> tuple[list[ClockStep], dict[str, ClockStep]]:
    """Steps of the clock of all tracks in order, and by topic the step of a track that steps alone.

    The first track decides which of two groups has the clock. Raises `UnreadableLog` for a clock
    that is set all the time.
    """
    found: list[ClockStep] = []
    alone: dict[str, ClockStep] = {}
    start = 0
    while True:
        kept = [t for t in tracks if t.topic not in alone]
        rest = [t.within(start) for t in kept]
        firsts = [s for t in rest if (s := _first(t, rest)) is not None]
        if not firsts:
            return found, alone
        if len(found) + len(alone) >= _MOST:
            raise UnreadableLog(f"its clock was set more than {_MOST} times ({firsts[0]})")
        step = min(firsts, key=lambda s: s.number)
        agree = [_agrees(t, step) for t in rest]
        if agree[0] is False:
            alone |= {t.topic: step for t, a in zip(rest, agree, strict=True) if a}
            continue
        alone |= {t.topic: step for t, a in zip(rest, agree, strict=True) if a is False}
        found.append(step)
        start = step.number


def outliers(t: np.ndarray) -> np.ndarray:
    """(N,) messages whose stamp alone is far from its neighbours, which are close to each other."""
    odd = np.zeros(len(t), dtype=bool)
    if len(t) > 2:
        gaps = np.diff(t)
        usual = max(int(np.median(np.abs(gaps))), 1)
        far = np.abs(gaps) > max(_SECOND_NS, 10 * usual)
        across = t[2:] - t[:-2]
        odd[1:-1] = far[:-1] & far[1:] & (across > 0) & (across < _APART * usual)
    return odd


def runs_backwards(t: np.ndarray) -> bool:
    """Whether a clock runs against file order, (N,) ns."""
    return len(t) > 2 and bool(t[-1] < t[0]) and (np.diff(t) < 0).mean() > 0.5


def _first(track: Track, tracks: Sequence[Track]) -> ClockStep | None:
    """The first step of one of the tracks."""
    if len(track.t) < 2:
        return None
    gaps = np.diff(track.t)
    far = np.abs(gaps) > max(_APART * track.period, _SECOND_NS // 10)
    places = [*_back(track, gaps), *(np.flatnonzero(gaps > HOUR_NS)[:1] + 1).tolist()]
    leaps = np.flatnonzero(far | (gaps < 0)) + 1
    for other in track.others:
        alone = np.abs(other[leaps] - other[leaps - 1]) <= np.abs(gaps[leaps - 1]) / 2
        places += _staying(track, other, leaps[alone])
    late = np.append(gaps < 0, False)  # beside a message out of order a leap tells nothing
    ahead = np.flatnonzero((gaps > 1.5 * track.period) & ~late[1:] & ~np.append(False, late[:-2])) + 1
    for beside in tracks if len(ahead) else ():
        if beside is not track and len(beside.t) > 1:
            before = np.searchsorted(beside.number, track.number) - 1
            places += _staying(track, beside.t[np.maximum(before, 0)], _overtaken(track, beside, ahead))
    if not places:
        return None
    place = min(places)
    return ClockStep(int(track.number[place]), int(gaps[place - 1]) - track.period)


def _overtaken(track: Track, beside: Track, places: np.ndarray) -> np.ndarray:
    """Those of the places where a track leaps ahead for which the log holds no time of the one beside it."""
    before = np.searchsorted(beside.number, track.number[places - 1]) - 1
    after = np.searchsorted(beside.number, track.number[places])
    within = (before >= 0) & (after < len(beside.number))
    places, before, after = places[within], before[within], after[within]
    leap = track.t[places] - track.t[places - 1]
    # the two must be written in turn there, not each in its own blocks
    first = np.maximum(np.searchsorted(track.number, beside.number[before]) - 1, 0)
    last = np.minimum(np.searchsorted(track.number, beside.number[after]), len(track.t) - 1)
    in_turn = track.t[last] - track.t[first] < 2 * leap
    return places[in_turn & (np.abs(beside.t[after] - beside.t[before]) < 0.75 * leap)]


def _back(track: Track, gaps: np.ndarray) -> list[int]:
    """Where stamps first go back to times that were recorded already, or to others altogether."""
    t, period = track.t, track.period
    late = t < np.maximum.accumulate(t)
    if not late.any():
        return []
    begins = late.copy()  # a run of late messages begins after one in time, or where stamps go back again
    begins[1:] &= ~late[:-1] | (gaps < 0)
    blocks = np.flatnonzero(begins)
    size = np.add.reduceat(late, blocks, dtype=np.int64)
    order = np.argsort(t, kind="stable")
    beside = np.diff(t[order])
    before, after = np.full(len(t), np.inf), np.full(len(t), np.inf)  # distances to neighbours in time
    before[order[1:]] = after[order[:-1]] = beside
    usual = (np.abs(gaps) > period / 2) & (np.abs(gaps) < 1.5 * period)
    close = late & (np.minimum(before, after) < _CLOSE * period)
    ahead = gaps[gaps > 0]
    chance = 2 * size * (ahead < _CLOSE * period).mean() if len(ahead) else 0.0 * size
    faulty = np.add.reduceat(close, blocks, dtype=np.int64) > np.minimum(
        size / 2, 2 * chance + 3 * np.sqrt(chance)
    )
    faulty &= usual.mean() > 0.5  # messages of no rhythm lie close to others anyway
    silence = 2 * float(np.quantile(ahead, 0.95)) if len(ahead) else 0.0
    faulty |= after[blocks + size - 1] > max(_APART * period, silence)
    return blocks[faulty][:1].tolist()


def _staying(track: Track, other: np.ndarray, places: np.ndarray) -> list[int]:
    """The first of the places where a track leaps and ``other`` does not, and they stay so far apart."""
    apart = track.t - other
    for place in places[:_MOST].tolist():
        by = int(track.t[place] - track.t[place - 1]) - track.period
        after, before = apart[place : place + _AROUND], apart[max(0, place - _AROUND) : place]
        if by and 0.5 < (np.median(after) - np.median(before)) / by < 1.5:
            return [place]
    return []


def _agrees(track: Track, step: ClockStep) -> bool | None:
    """Whether a track steps as well; None where it has too few messages to tell."""
    place = int(np.searchsorted(track.number, step.number))
    if place == 0 or place == len(track.number):
        return None
    period = track.period
    if len(track.t) < 4 or period >= abs(step.by):
        return None
    gap = int(track.t[place] - track.t[place - 1])
    return gap < period + step.by / 2 if step.by < 0 else gap > period + step.by / 2
