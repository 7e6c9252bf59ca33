"""Which command was computed from which state, told by their stamps.

A control loop takes a state, computes, and publishes the command some delay later. Measured after the
latest state before it, the delay repeats with the period of the faster of the two streams: where all
delays lie close together on that circle, each state has one command, whatever the jitter, and a dropped
one leaves a state without. Where they don't, or lie about a tick (of this one or of the one before?),
stamps cannot tell, and nothing is paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lwd_core.logs.fields import NO_STAMP

BULK = 0.9  # of the delays: the rest are outliers
_WIDEST = 0.45  # of a period: delays further apart than this do not tell one cycle from the next
_MARGIN = 0.125  # of a period: what lies further from the bulk is of no cycle
_DOUBT = 0.02  # of a period: so shortly before a tick, a command could be that tick's own
_EDGE = 0.1  # of the bulk: so shortly behind a tick it could begin before it
_TAIL = 0.003  # of the delays beyond the bulk and its margin: some could be late by a period, too
_GAPS = 4  # periods without a state, after which a command tells nothing of its delay


@dataclass(frozen=True)
class Delay:
    """Commands lie ``low`` to ``high`` ns after their state, the pattern repeats every ``period`` ns.

    ``why``: what keeps the stamps from telling, None if they tell. ``tail``: some lie elsewhere.
    """

    period: int
    low: int
    high: int
    why: str | None = None
    tail: bool = False

    @property
    def middle(self) -> float:
        """The typical delay, ns."""
        return (self.low + self.high) / 2

    @property
    def first(self) -> int:
        """The shortest delay that counts, ns."""
        return self.low - int(self.period * _MARGIN)

    @property
    def last(self) -> int:
        """The longest delay that counts, ns."""
        return self.high + int(self.period * _MARGIN)


@dataclass(frozen=True)
class StreamTimes:
    """Times of a stream, (N,) int64 ns ascending, the places (N,) of its messages in the log, and the
    sensors' own times (N,), `NO_STAMP` where there is none."""

    t: np.ndarray
    index: np.ndarray
    header: np.ndarray

    @property
    def stamped(self) -> bool:
        """Whether every message has a time of its own, and they ascend."""
        return len(self.t) > 0 and self.header[0] != NO_STAMP and bool((np.diff(self.header) > 0).all())


def measure(states: StreamTimes, commands: StreamTimes, period: int, stated: float | None = None) -> Delay:
    """The delay of commands after their states.

    ``period``: expected, ns, where a stream is too short to have one. ``stated``: the delay as a person
    knows it, ns; it says which period a delay belongs to, not more.
    """
    cycle = min(_period(states.t, period), _period(commands.t, period))
    place = np.searchsorted(states.t, commands.t, side="right") - 1
    known = place >= 0
    after = commands.t[known] - states.t[place[known]]
    near = after <= _GAPS * max(cycle, _period(states.t, period))
    after = after[near]
    if not len(after):
        return Delay(cycle, 0, 0, "no command comes after a state")
    low, high = _bulk(after % cycle, cycle)
    middle = (low + high) / 2
    lap = -int(middle // cycle) if stated is None else round((stated - middle) / cycle)
    low, high, middle = low + lap * cycle, high + lap * cycle, middle + lap * cycle
    seen = f"{_ms(low)} to {_ms(high)} ms after a state, every {_ms(cycle)} ms"
    why = None
    if high - low > _WIDEST * cycle:
        why = f"commands lie anywhere ({seen}): stamps do not tell which state one was computed from"
    elif stated is not None:
        if abs(middle - stated) > cycle / 4:
            why = f"commands come {seen}, not {_ms(stated)} ms as `delay_ms` says"
    elif not (after % cycle).any():  # one stamp, one tick; unless the command was written before that state
        numbers = commands.index[known][near], states.index[place[known]][near]
        why = _doubt(0, cycle) if (numbers[0] < numbers[1]).mean() > 0.5 else None
    elif low < (high - low) * _EDGE or high >= cycle or middle > (1 - _DOUBT) * cycle:
        why = _doubt(middle, cycle)
    told = Delay(cycle, low, high, why)
    beyond = (after - told.first) % cycle > told.last - told.first
    return replace(told, tail=bool(beyond.mean() > _TAIL))


@dataclass(frozen=True)
class Following:
    """A stream of commands beside one of states: ``command`` (S,) is the place of each state's command, -1
    where none is told, ``several`` (S,) where more than one could be meant."""

    delay: Delay
    command: np.ndarray
    several: np.ndarray

    @classmethod
    def of(
        cls, states: StreamTimes, commands: StreamTimes, period: int, stated: float | None = None
    ) -> "Following":
        """By the stamps of the sensors where commands bear that of their state, else by their delay."""
        s, c = states.t, commands.t
        if states.stamped and commands.stamped and np.isin(commands.header, states.header).mean() > BULK:
            s, c = states.header, commands.header
            delay = Delay(min(_period(s, period), _period(c, period)), 0, 0)
        else:
            delay = measure(states, commands, period, stated)
        if delay.why is not None:
            return cls(delay, np.full(len(s), -1), np.zeros(len(s), dtype=bool))
        first, count = _within(c, s + delay.first, s + delay.last)
        command = _single(np.where(count == 1, first, -1), len(c))
        paired = np.flatnonzero(command >= 0)
        command[paired[~_in_rhythm(s[paired], delay, _period(s, period), _period(c, period))]] = -1
        return cls(delay, command, count > 1)

    def states_with_commands(self) -> np.ndarray:
        """Places (K,) of the states that a command was computed from, ascending."""
        return np.flatnonzero(self.command >= 0)


def _in_rhythm(t: np.ndarray, delay: Delay, states: int, commands: int) -> np.ndarray:
    """(K,) which of the states at ``t`` that seem to have a command lie where a command is due.

    Commands of every second or third state come in that rhythm: one that is late by a state is none of
    the next. Where delays have a tail, a command after a gap could be the late one that is missing in it.
    """
    if len(t) < 2:
        return np.ones(len(t), dtype=bool)
    cycles = np.diff(t) / max(states, commands)
    whole = np.rint(cycles)
    good = np.ones(len(t), dtype=bool)
    if commands > 1.5 * states:
        even = (np.abs(cycles - whole) < 0.4 * states / commands) & (whole > 0)
        good = np.append(False, even) | np.append(even, False)
    if delay.tail:
        good &= np.append(False, whole == 1)
    return good


def anchor(states: Sequence[int], commands: int) -> int:
    """Which of several streams of states, by their counts, the commands follow: the slowest that keeps up."""
    able = [i for i, n in enumerate(states) if n >= 0.8 * commands]
    return min(able, key=lambda i: states[i]) if able else max(range(len(states)), key=lambda i: states[i])


def _within(times: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of the first of ``times`` in [begin, end], and how many there are."""
    first = np.searchsorted(times, begin, side="left")
    return first, np.searchsorted(times, end, side="right") - first


def _single(place: np.ndarray, size: int) -> np.ndarray:
    """``place`` without those that occur twice."""
    uses = np.bincount(place[place >= 0], minlength=size)
    taken = np.where(place >= 0, place, 0)
    return np.where((place >= 0) & (uses[taken] == 1), place, -1) if size else place


def _bulk(offsets: np.ndarray, cycle: int) -> tuple[int, int]:
    """The shortest arc of the circle that holds the bulk of the offsets."""
    x = np.sort(offsets)
    n = len(x)
    kept = n - int(n * (1 - BULK))
    around = np.concatenate([x, x + cycle])
    lengths = around[kept - 1 : kept - 1 + n] - around[:n]
    at = int(np.argmin(lengths))
    return int(around[at]), int(around[at + kept - 1])


def _period(t: np.ndarray, expected: int) -> int:
    """The time between messages, lost ones counted: jitter of a single gap must not shift the circle."""
    gaps = np.diff(t)
    if not len(gaps):
        return expected
    usual = max(1.0, float(np.median(gaps)))
    gaps = gaps[gaps < _GAPS * usual]
    count = int(np.rint(gaps / usual).sum())
    return max(1, round(gaps.sum() / count)) if count else round(usual)


def _doubt(middle: float, cycle: int) -> str:
    near = middle if middle < cycle / 2 else middle - cycle
    return (
        f"commands lie at their tick ({_ms(near)} ms from a state): of this state, `delay_ms: "
        f"{_ms(near)}`, or of the one before, `delay_ms: {_ms(near + cycle)}`?"
    )


def _ms(ns: float) -> str:
    return f"{round(ns / 1e6, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
