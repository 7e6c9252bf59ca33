"""Alignment: from series with their own rates to control ticks.

States, frames and held commands are latest-at, with ages; a command that follows is the one computed
from the tick's state (`pairing`). Nothing is interpolated and nothing filled in silently: a tick whose
feature is missing or older than its stated staleness keeps what was last known (NaN if nothing was) and
is marked not valid, and why is counted.
"""

from collections import Counter

import numpy as np

from lwd_core.logs.aligned import Aligned, TickFrames
from lwd_core.logs.at_ticks import AtTicks, last_known, own_command
from lwd_core.logs.clock import Clock, Timed
from lwd_core.logs.fields import NO_STAMP
from lwd_core.logs.pairing import Following, StreamTimes, anchor
from lwd_core.logs.recording import Frames, MessageLog, Series
from storage_schemas.embodiment import Embodiment, Feature

_GAP_NS = 1_000_000_000  # a grid is not laid across a longer silence
_LONG_NS = 1_000_000_000  # what is left out and lasts longer is named


class Aligner:
    """One recording's series in time, ready to be cut and aligned span by span.

    ``rows`` and ``valid`` count the ticks with an action so far, ``masked`` says why others are not valid.
    """

    def __init__(self, recording: MessageLog, embodiment: Embodiment, clock: Clock) -> None:
        self._recording, self._embodiment, self._clock = recording, embodiment, clock
        self._state = self._timed(embodiment.state, recording.state)
        self._action = self._timed(embodiment.action, recording.action)
        self._proposed = self._timed(embodiment.proposed, recording.proposed)
        self._cameras = {c.name: clock.time(c.topic, recording.cameras[c.name]) for c in embodiment.cameras}
        self.rows = self.valid = 0
        self.masked: Counter[str] = Counter()
        topics = [f.topic for f in embodiment.state]
        if embodiment.time.ticks in topics:
            lead = topics.index(embodiment.time.ticks)
        else:
            lead = anchor([len(t.t) for t in self._state], max((len(t.t) for t in self._action), default=0))
        self._anchor = self._state[lead]  # the states that commands are computed from
        states = _stamps(recording.state[lead], self._anchor)
        self._follows = [
            self._following(states, f, _stamps(s, t))
            for f, s, t in zip(embodiment.action, recording.action, self._action, strict=True)
        ]
        self._proposed_follows = [
            self._following(states, f, _stamps(s, t))
            for f, s, t in zip(embodiment.proposed, recording.proposed, self._proposed, strict=True)
        ]
        self.lead = self._lead(recording.ticks)

    def _following(self, states: StreamTimes, feature: Feature, commands: StreamTimes) -> Following | None:
        """How its commands follow the states; None where they are held."""
        if feature.pairing == "held":
            return None
        stated = None if feature.delay_ms is None else feature.delay_ms * 1e6
        return Following.of(states, commands, self._embodiment.period_ns, stated)

    def _lead(self, series: Series | None) -> np.ndarray:
        """Times that ticks are taken from, or a grid is laid along."""
        topic = self._embodiment.time.ticks
        for feature, timed, follows in zip(self._embodiment.action, self._action, self._follows, strict=True):
            if feature.topic == topic and follows is not None:
                states = self._anchor.t[follows.states_with_commands()]
                if not len(states):
                    break  # no state is known to have a command: all are shown, and masked
                if lost := len(timed.t) - len(states):
                    self._clock.notes.append(
                        f"{topic}: {lost} of {len(timed.t)} commands left out, of which state is not told"
                    )
                # where the last command led: the state a period later, command or not
                period = self._embodiment.period_ns
                after = self._anchor.t[self._anchor.t > states[-1] + period // 2][:1]
                return np.append(states, after[after <= states[-1] + 3 * period // 2])
        if topic and series is not None:
            return self._clock.time(topic, series).t
        return self._anchor.t

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
        ticks = self._ticks(start, stop)
        given = [t.between(start, last_action) for t in self._action]
        if given:
            if any(a == b for a, b in given):
                return None
            ends = [int(t.t[b - 1]) for t, (_, b) in zip(self._action, given, strict=True)]
            commands = [
                self._command(*one, ticks)
                for one in zip(self._embodiment.action, self._action, self._follows, given, strict=True)
            ]
            actions = max(self._acting(c, end, ticks) for c, end in zip(commands, ends, strict=True))
            # the first tick after the last action shows where it led; no later one has an action
            ticks, rest = ticks[: actions + 1], ticks[actions + 1 :]
            if len(rest) and (silent := int(rest[-1] - ticks[-1])) > _LONG_NS:
                self._clock.notes.append(
                    f"{len(rest)} ticks of {silent / 1e9:.1f} s after the last command left out"
                )
        else:
            commands = []
            ticks = ticks[ticks <= last_action]
            actions = len(ticks)
        if not actions:
            return None
        valid = np.ones(len(ticks), dtype=bool)
        states = [
            self._known(f, t, ticks, "state")
            for f, t in zip(self._embodiment.state, self._state, strict=True)
        ]
        state, state_age = self._vectors(
            self._embodiment.state, self._recording.state, states, valid, actions
        )
        commands = [c.first(actions) for c in commands]
        action, action_age = self._vectors(
            self._embodiment.action, self._recording.action, commands, valid[:actions], actions
        )
        proposals = [
            self._command(f, t, follows, t.between(start, last_action), ticks[:actions])
            for f, t, follows in zip(
                self._embodiment.proposed, self._proposed, self._proposed_follows, strict=True
            )
        ]
        has_proposed = np.full(actions, bool(proposals))
        proposed, _ = self._vectors(
            self._embodiment.proposed, self._recording.proposed, proposals, has_proposed, 0
        )
        frames = self._frames(ticks, valid, actions) if self._cameras else None
        self.rows += actions
        self.valid += int(valid[:actions].sum())
        place, _ = self._state[0].latest(ticks)
        acting = ticks.copy()
        for command in commands[:1]:
            acting[:actions] += np.maximum(-command.age, 0)  # not before the tick's own command was given
        return Aligned(
            t_ns=ticks,
            state=state,
            action=action,
            proposed=proposed,
            has_proposed=has_proposed,
            valid=valid,
            state_age=state_age,
            action_age=np.append(action_age, np.full(len(ticks) - actions, -1)),
            publish=_taken(self._recording.state[0].publish, place),
            header=_taken(self._recording.state[0].header, place),
            frames=frames,
            acting_ns=acting,
        )

    def _command(
        self,
        feature: Feature,
        timed: Timed,
        follows: Following | None,
        given: tuple[int, int],
        ticks: np.ndarray,
    ) -> AtTicks:
        """The command of each tick, of those at ``given`` places: the one held, or its state's own."""
        if follows is None:
            return self._known(feature, timed.places(*given), ticks, "command")
        return own_command(feature, timed, follows, given, self._anchor.t, ticks)

    def _known(self, feature: Feature, timed: Timed, ticks: np.ndarray, what: str) -> AtTicks:
        return last_known(feature, timed, ticks, self._embodiment.staleness_ns(feature), what)

    def _acting(self, chosen: AtTicks, end: int, ticks: np.ndarray) -> int:
        """How many ticks there are up to the last that has a command."""
        if chosen.last is not None:
            return chosen.last
        return int(np.searchsorted(ticks, end + self._embodiment.period_ns // 2, side="right"))

    def _vectors(
        self,
        features: tuple[Feature, ...],
        series: tuple[Series, ...],
        chosen: list[AtTicks],
        valid: np.ndarray,
        actions: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) float32 values and (N,) distance of the furthest part (-1: a part is missing).

        ``valid`` (N,) is cleared where a part is missing, stale or no number; why is counted of the
        first ``actions``.
        """
        n = len(valid)
        parts, furthest = [np.empty((n, 0), np.float32)], np.zeros(n, dtype=np.int64)
        missing = np.zeros(n, dtype=bool)
        for feature, one, take in zip(features, series, chosen, strict=True):
            lost = take.place < 0
            values = np.full((n, len(feature.dims)), np.nan, dtype=np.float32)
            with np.errstate(over="ignore"):
                values[~lost] = one.values[take.place[~lost]]
            why = {**take.why, f"{feature.topic}: no finite number": ~lost & ~np.isfinite(values).all(axis=1)}
            self._mask(why, valid, actions)
            missing |= lost
            furthest = np.maximum(furthest, np.abs(take.age))
            parts.append(values)
        furthest[missing] = -1
        return np.concatenate(parts, axis=1), furthest

    def _mask(self, why: dict[str, np.ndarray], valid: np.ndarray, actions: int) -> None:
        for reason, faulty in why.items():
            valid &= ~faulty
            if count := int(faulty[:actions].sum()):
                self.masked[reason] += count

    def _ticks(self, start: int, stop: int) -> np.ndarray:
        lead = self.lead[(self.lead >= start) & (self.lead <= stop)]
        if self._embodiment.time.ticks or not len(lead):
            return lead
        begin = lead[0]
        for timed in (*self._state, *self._action):  # before a feature's first message nothing is known
            first = timed.t[timed.t >= start]
            begin = max(begin, first[0]) if len(first) else begin
        if begin - lead[0] > _LONG_NS:
            late = (begin - lead[0]) / 1e9
            self._clock.notes.append(f"the first {late:.1f} s left out: a topic begins later")
        breaks = np.flatnonzero(np.diff(lead) > _GAP_NS) + 1
        period = 1e9 / self._embodiment.control_hz  # not the rounded one: a grid must not drift
        runs = []
        for run in np.split(lead, breaks):
            first, last = max(int(run[0]), int(begin)), int(run[-1])
            if last >= first:
                count = int((last - first) / period) + 1
                runs.append(first + np.rint(np.arange(count) * period).astype(np.int64))
        return np.concatenate(runs) if runs else lead[:0]

    def _frames(self, ticks: np.ndarray, valid: np.ndarray, actions: int) -> TickFrames:
        shown, columns = [], []
        for camera in self._embodiment.cameras:
            series = self._recording.cameras[camera.name]
            place, age = self._cameras[camera.name].latest(ticks)
            fresh = (place >= 0) & (age <= camera.staleness_ms * 1e6)
            if camera.required:
                self._mask({f"camera {camera.name}: no fresh frame": ~fresh}, valid, actions)
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
        return TickFrames(camera, shard, offset, length, t_ns, mask.sum(axis=1))

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


def _stamps(series: Series, timed: Timed) -> StreamTimes:
    return StreamTimes(timed.t, series.index[timed.at], series.header[timed.at])


def _taken(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    taken = np.full(len(place), NO_STAMP, dtype=np.int64)
    taken[place >= 0] = values[place[place >= 0]]
    return taken
