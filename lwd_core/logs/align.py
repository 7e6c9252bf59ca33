"""Alignment: from series with their own rates to control ticks, latest-at, with ages.

Nothing is interpolated and nothing filled in silently: a tick whose feature is missing or older than
its stated staleness keeps what was last known (NaN if nothing was) and is marked not valid.
"""

from dataclasses import dataclass

import numpy as np

from lwd_core.logs.clock import Clock, Timed
from lwd_core.logs.fields import NO_STAMP
from lwd_core.logs.recording import Frames, Recording, Series
from storage_schemas.embodiment import Embodiment, Feature

_GAP_NS = 1_000_000_000  # a grid is not laid across a longer silence


@dataclass(frozen=True)
class FrameTable:
    """Frames shown at ticks: rows (F,) of camera, shard, offset, size, t_ns; ``lengths`` (N,) per tick."""

    camera: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    t_ns: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Aligned:
    """N ticks of one episode, of which the first T have an action (N is T or T + 1).

    ``state`` (N, S) and ``action``, ``proposed`` (T, D) float32; ``has_proposed`` (T,) bool;
    ages, ``publish``, ``header`` (N,) int64 ns, -1 where there is none.
    """

    t_ns: np.ndarray
    state: np.ndarray
    action: np.ndarray
    proposed: np.ndarray
    has_proposed: np.ndarray
    valid: np.ndarray
    state_age: np.ndarray
    action_age: np.ndarray
    publish: np.ndarray
    header: np.ndarray
    frames: FrameTable | None = None

    @property
    def actions(self) -> int:
        """T."""
        return len(self.action)


class Aligner:
    """One recording's series in time, ready to be cut and aligned span by span."""

    def __init__(self, recording: Recording, embodiment: Embodiment, clock: Clock) -> None:
        self._recording, self._embodiment, self._clock = recording, embodiment, clock
        self._state = self._timed(embodiment.state, recording.state)
        self._action = self._timed(embodiment.action, recording.action)
        self._proposed = self._timed(embodiment.proposed, recording.proposed)
        self._cameras = {c.name: clock.time(c.topic, recording.cameras[c.name]) for c in embodiment.cameras}
        lead = recording.ticks
        ticks = embodiment.time.ticks
        self.lead = clock.time(ticks, lead).t if ticks and lead is not None else self._state[0].t

    def _timed(self, features: tuple[Feature, ...], series: tuple[Series, ...]) -> list[Timed]:
        known: dict[str, tuple[Series, Timed]] = {}  # features of one topic share its faults and notes
        timed = []
        for f, s in zip(features, series, strict=True):
            before = known.get(f.topic)
            if before is None or not np.array_equal(before[0].index, s.index):
                known[f.topic] = before = (s, self._clock.time(f.topic, s))
            timed.append(before[1])
        return timed

    def span(self, start: int, stop: int, last_action: int) -> Aligned | None:
        """Align ticks of [start, stop] ns; actions count up to ``last_action`` ns. None: no tick."""
        period = self._embodiment.period_ns
        ticks = self._ticks(start, stop)
        acted = [t.t[(t.t >= start) & (t.t <= last_action)] for t in self._action]
        if acted:
            if any(len(a) == 0 for a in acted):
                return None
            end = max(a[-1] for a in acted) + period // 2
            # the first tick after the last action shows where it led; no later one has an action
            ticks = ticks[: int(np.searchsorted(ticks, end, side="right")) + 1]
            actions = int(np.searchsorted(ticks, end, side="right"))
        else:
            ticks = ticks[ticks <= last_action]
            actions = len(ticks)
        if not actions:
            return None
        state, state_age, valid = self._vectors(
            self._embodiment.state, self._recording.state, self._state, ticks
        )
        acting = ticks[:actions]
        action, action_age, fresh = self._vectors(
            self._embodiment.action, self._recording.action, self._action, acting
        )
        valid[:actions] &= fresh
        proposed, _, has_proposed = self._vectors(
            self._embodiment.proposed, self._recording.proposed, self._proposed, acting
        )
        place, _ = self._state[0].latest(ticks)
        frames = self._frames(ticks, valid) if self._cameras else None
        return Aligned(
            t_ns=ticks,
            state=state,
            action=action,
            proposed=proposed,
            has_proposed=has_proposed if self._embodiment.proposed else np.zeros(actions, dtype=bool),
            valid=valid,
            state_age=state_age,
            action_age=np.append(action_age, np.full(len(ticks) - actions, -1)),
            publish=_taken(self._recording.state[0].publish, place),
            header=_taken(self._recording.state[0].header, place),
            frames=frames,
        )

    def _ticks(self, start: int, stop: int) -> np.ndarray:
        lead = self.lead[(self.lead >= start) & (self.lead <= stop)]
        if self._embodiment.time.ticks or not len(lead):
            return lead
        begin = lead[0]
        for timed in (*self._state, *self._action):  # before a feature's first message nothing is known
            first = timed.t[timed.t >= start]
            begin = max(begin, first[0]) if len(first) else begin
        breaks = np.flatnonzero(np.diff(lead) > _GAP_NS) + 1
        period = 1e9 / self._embodiment.control_hz  # not the rounded one: a grid must not drift
        runs = []
        for run in np.split(lead, breaks):
            first, last = max(int(run[0]), int(begin)), int(run[-1])
            if last >= first:
                count = int((last - first) / period) + 1
                runs.append(first + np.rint(np.arange(count) * period).astype(np.int64))
        return np.concatenate(runs) if runs else lead[:0]

    def _vectors(
        self, features: tuple[Feature, ...], series: tuple[Series, ...], timed: list[Timed], ticks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, D) float32 values, (N,) age of the oldest part (-1: a part is missing), (N,) all fresh."""
        n = len(ticks)
        parts, oldest, fresh = [], np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        missing = np.zeros(n, dtype=bool)
        for feature, one, time in zip(features, series, timed, strict=True):
            place, age = time.latest(ticks)
            lost = place < 0
            values = np.full((n, len(feature.dims)), np.nan, dtype=np.float32)
            with np.errstate(over="ignore"):
                values[~lost] = one.values[place[~lost]]
            fresh &= ~lost & (age <= self._embodiment.staleness_ns(feature)) & np.isfinite(values).all(axis=1)
            missing |= lost
            oldest = np.maximum(oldest, age)
            parts.append(values)
        oldest[missing] = -1
        return np.concatenate(parts, axis=1) if parts else np.empty((n, 0), np.float32), oldest, fresh

    def _frames(self, ticks: np.ndarray, valid: np.ndarray) -> FrameTable:
        shown, columns = [], []
        for camera in self._embodiment.cameras:
            series = self._recording.cameras[camera.name]
            place, age = self._cameras[camera.name].latest(ticks)
            fresh = (place >= 0) & (age <= camera.staleness_ms * 1e6)
            if camera.required:
                valid &= fresh
            shown.append(fresh)
            columns.append((camera.name, series, place))
        mask = np.stack(shown, axis=1)  # (N, C): row by row this is the order of the table
        at_tick, at_camera = np.nonzero(mask)
        size = len(at_tick)
        camera, shard = np.empty(size, dtype=object), np.empty(size, dtype=object)
        offset, length, t_ns = (np.empty(size, dtype=np.int64) for _ in range(3))
        for i, (name, series, place) in enumerate(columns):
            here = at_camera == i
            chosen = place[at_tick[here]]
            frames: Frames = series.values
            camera[here] = name
            shard[here] = frames.shard[chosen]
            offset[here] = frames.offset[chosen]
            length[here] = frames.size[chosen]
            t_ns[here] = series.log[chosen]
        return FrameTable(camera, shard, offset, length, t_ns, mask.sum(axis=1))

    def messages(self, start: int, stop: int) -> tuple[int, int]:
        """First and last message number of the span, over every series of the embodiment."""
        first, last = [], []
        pairs = [*zip(self._recording.state, self._state, strict=True)]
        pairs += zip(self._recording.action, self._action, strict=True)
        pairs += zip(self._recording.proposed, self._proposed, strict=True)
        pairs += [(self._recording.cameras[name], timed) for name, timed in self._cameras.items()]
        for series, timed in pairs:
            at = timed.at[(timed.t >= start) & (timed.t <= stop)]
            if len(at):
                numbers = series.index[at]
                first.append(numbers.min())
                last.append(numbers.max())
        return (int(min(first)), int(max(last))) if first else (0, 0)


def _taken(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    taken = np.full(len(place), NO_STAMP, dtype=np.int64)
    taken[place >= 0] = values[place[place >= 0]]
    return taken
