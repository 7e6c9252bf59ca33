"""Where a log's clock was set while it was recorded, and the parts that lie between.

File order is the order of events; stamps that contradict it are either stored out of order, or the clock
was set. Stored out of order, a topic's stamps are regular once they are sorted. Set back, they are not: two
runs lie over one another, or apart. Set forward looks like a silence; another clock of the same messages
tells, or more than an hour does. A clock all topics share cuts the log; a topic that steps alone is
left out from there on, as nothing tells how it lies beside the others.
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
class Step:
    """The clock was set by ``by`` ns (back if negative) before message ``number``."""

    number: int
    by: int

    def __str__(self) -> str:
        direction = "back" if self.by < 0 else "forward"
        return f"clock set {direction} by {abs(self.by) / 1e9:.3f} s at message {self.number}"


def steps(tracks: Sequence[Track]) -> tuple[list[Step], dict[str, Step]]:
    """Steps of the clock of all tracks in order, and by topic the step of a track that steps alone.

    The first track decides which of two groups has the clock. Raises `UnreadableLog` for a clock
    that is set all the time.
    """
    found: list[Step] = []
    alone: dict[str, Step] = {}
    start = 0
    while True:
        kept = [t for t in tracks if t.topic not in alone]
        rest = [t.within(start) for t in kept]
        firsts = [s for t in rest if (s := _first(t)) is not None]
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


def _first(track: Track) -> Step | None:
    """The first step of one track."""
    if len(track.t) < 2:
        return None
    gaps = np.diff(track.t)
    leaps = np.abs(gaps) > max(_APART * track.period, _SECOND_NS // 10)
    places = [*_back(track, gaps), *(np.flatnonzero(gaps > HOUR_NS)[:1] + 1).tolist()]
    for place in (np.flatnonzero(leaps | (gaps < 0))[:_MOST] + 1).tolist():
        if any(_leaves(track.t, other, place) for other in track.others):
            places.append(place)
            break
    if not places:
        return None
    place = min(places)
    return Step(int(track.number[place]), int(gaps[place - 1]) - track.period)


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


def _leaves(t: np.ndarray, other: np.ndarray, place: int) -> bool:
    """Whether a leap of ``t`` at ``place`` is one of this clock alone, and stays."""
    leap = int(t[place] - t[place - 1])
    if abs(other[place] - other[place - 1]) > abs(leap) / 2:
        return False
    apart = t - other
    shift = np.median(apart[place : place + _AROUND]) - np.median(apart[max(0, place - _AROUND) : place])
    return bool(shift / leap > 0.5)


def _agrees(track: Track, step: Step) -> bool | None:
    """Whether a track steps as well; None where it has too few messages to tell."""
    place = int(np.searchsorted(track.number, step.number))
    if place == 0 or place == len(track.number):
        return None
    period = track.period
    if len(track.t) < 4 or period >= abs(step.by):
        return None
    gap = int(track.t[place] - track.t[place - 1])
    return gap < period + step.by / 2 if step.by < 0 else gap > period + step.by / 2
