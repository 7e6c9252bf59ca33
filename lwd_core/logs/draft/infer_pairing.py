"""Drafting in time: the control rate, where the ticks lie, which command belongs to which state.

Where stamps tell, the draft says the delay they tell; where they don't, it asks.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lwd_core.logs.draft.draft import Draft, DraftFeature
from lwd_core.logs.draft.sample import Sample
from lwd_core.logs.fields import NO_STAMP, HeaderStamps
from lwd_core.logs.pairing import BULK, Delay, StreamTimes, anchor, measure

_SLOWER = 1.5  # times: commands so much slower than their states are the ticks themselves
_BURSTS, _OFTEN = 10, 0.01  # usual gaps: with such silences often, commands are given on a change, and hold


def fill(draft: Draft, seen: Mapping[str, Sample]) -> None:
    """Fill in ``control_hz``, ``ticks`` and how actions pair with states."""
    timed = {f.topic: np.sort(seen[f.topic].times) for f in (*draft.state, *draft.action)}
    rates = [f.hz for f in draft.state if f.hz]
    moving = [f for f in draft.action if len(timed[f.topic]) > 1]
    if not rates and not any(f.hz for f in moving):
        draft.control_hz = 10.0
        draft.open.append("control_hz: no topic has a rate; 10 is a guess")
        return
    if not moving or not draft.state:
        draft.control_hz = _round(max([*rates, *(f.hz for f in moving)]))
        draft.ticks = draft.state[0].topic if draft.state and _together(draft, timed) else None
    else:
        _follow(draft, seen, timed, max(moving, key=lambda f: len(timed[f.topic])))
    _stale(draft, timed)


def _follow(
    draft: Draft, seen: Mapping[str, Sample], timed: Mapping[str, np.ndarray], main: DraftFeature
) -> None:
    """Ticks and pairing by the action that speaks most."""
    lead = draft.state[anchor([len(timed[f.topic]) for f in draft.state], len(timed[main.topic]))]
    if len([f for f in draft.state if f.topic == lead.topic]) > 1:
        # several drivers on one topic: its messages are no ticks, and tell delays only when they are apart
        draft.control_hz, draft.ticks = _round(main.hz or lead.hz), main.topic
        return
    delays = {f.topic: _delay(seen, lead, f) for f in draft.action}
    slower = main.hz and lead.hz > _SLOWER * main.hz
    delay = delays[main.topic]
    held = delay.why is not None and _bursts(timed[main.topic])
    if held:
        draft.control_hz = _round(lead.hz or main.hz)
        draft.ticks = lead.topic
    else:
        draft.control_hz = _round((main.hz if slower else lead.hz) or main.hz)
        draft.ticks = main.topic if slower else lead.topic
    for i, f in enumerate(draft.action):
        draft.action[i] = _paired(draft, f, main, lead, delays[f.topic], timed[f.topic])


def _paired(
    draft: Draft, f: DraftFeature, main: DraftFeature, lead: DraftFeature, delay: Delay, times: np.ndarray
) -> DraftFeature:
    """The feature with what stamps tell of its pairing; what they don't tell is asked."""
    rare = f.topic != main.topic and (len(times) < 2 or f.hz * _SLOWER < draft.control_hz)
    if rare or (delay.why is not None and _bursts(times)):
        draft.open.append(f"{f.topic}: its commands are rare; drafted as held until the next one")
        period = 1e3 / draft.control_hz
        gaps = np.diff(times)
        usual = float(np.quantile(gaps, 0.5 if _bursts(times) else 0.95)) / 1e6 if len(gaps) else 0.0
        return replace(f, pairing="held", staleness_ms=float(np.ceil(max(2 * period, 1.5 * usual))))
    if delay.why is not None:
        draft.open.append(f"{f.topic}: which command belongs to which state of {lead.topic}? {delay.why}")
        return f
    if lead.hz > _SLOWER * f.hz > 0:
        older = (delay.middle + delay.period) / 1e6
        draft.open.append(
            f"{f.topic}: taken as computed from the freshest state of {lead.topic}, "
            f"{delay.middle / 1e6:.3g} ms before; if from an older one, delay_ms: {older:.3g}"
        )
        if not _regular(times):
            draft.open.append(
                f"{f.topic}: its commands come in no rhythm, few are told of a state; if each stands "
                f"until the next, `pairing: held` and ticks: {lead.topic}"
            )
    return replace(f, delay_ms=round(delay.middle / 1e6, 3) if delay.high > 0 else None)


def _delay(seen: Mapping[str, Sample], lead: DraftFeature, feature: DraftFeature) -> Delay:
    """How a topic follows the lead, in the order of time."""
    period = round(1e9 / (lead.hz or feature.hz or 10.0))
    if _bears_stamps(seen[feature.topic], seen[lead.topic]):
        return Delay(period, 0, 0)  # a log's commands are paired by them, whatever their delay
    states, commands = (_stamps(seen[f.topic]) for f in (lead, feature))
    return measure(states, commands, period)


def _bears_stamps(commands: Sample, states: Sample) -> bool:
    """Whether commands bear the sensors' stamps of their states, by the beginning of the log."""
    stamps = []
    for one in (states, commands):
        first = one.at == np.arange(len(one.at))
        stamp_of = HeaderStamps()
        stamps.append(np.array([stamp_of(m) for m in one.messages[: int(first.sum())]], dtype=np.int64))
    known, own = stamps
    own = own[
        : int(np.searchsorted(own, known.max(initial=0), side="right"))
    ]  # later ones are of later states
    ascending = len(own) > 1 and own[0] != NO_STAMP and bool((np.diff(own) > 0).all())
    return ascending and bool(np.isin(own, known).mean() > BULK)


def _stamps(one: Sample) -> StreamTimes:
    order = np.argsort(one.times, kind="stable")
    return StreamTimes(one.times[order], one.index[order], np.full(len(order), NO_STAMP))


def _bursts(times: np.ndarray) -> bool:
    """Whether a stream speaks in bursts, with long silences between: more than stalls and steps make."""
    gaps = np.diff(times)
    gaps = gaps[gaps > 0]
    return len(gaps) > 0 and np.sum(gaps > _BURSTS * np.median(gaps)) > max(3, _OFTEN * len(gaps))


def _regular(times: np.ndarray) -> bool:
    """Whether a stream has a rhythm: nearly all its gaps are one or a few times the usual one."""
    gaps = np.diff(times) / max(1.0, float(np.median(np.diff(times))))
    return bool((np.abs(gaps - np.maximum(np.rint(gaps), 1)) < 0.25).mean() > 0.8)


def _together(draft: Draft, timed: Mapping[str, np.ndarray]) -> bool:
    """Whether all topics of the state speak once a tick of the first."""
    ticks = timed[draft.state[0].topic]
    near = [np.sum(_ages(ticks, timed[f.topic]) <= 0.45e9 / draft.control_hz) for f in draft.state]
    return len(ticks) > 1 and bool(min(near) >= 0.9 * len(ticks))


def _stale(draft: Draft, timed: Mapping[str, np.ndarray]) -> None:
    """Let states that are usually older at a tick than the default be so old."""
    period = 1e9 / draft.control_hz
    limit = period / 2 if draft.ticks else 2 * period
    ticks = timed[draft.ticks] if draft.ticks else None
    for i, f in enumerate(draft.state):
        times = timed[f.topic]
        if len(times) < 2 or f.topic == draft.ticks:
            continue
        gaps = np.diff(times)
        shared = f.hz > 0 and 1e9 / f.hz > 1.5 * float(np.median(gaps))  # by a driver that speaks more often
        usual = max(float(np.quantile(gaps, 0.95)), 1e9 / f.hz if shared else 0.0)
        ages = _ages(ticks, times) if ticks is not None and not shared else np.array([usual])
        if len(ages) and float(np.quantile(ages, 0.95)) > 0.9 * limit:
            draft.state[i] = replace(f, staleness_ms=float(np.ceil(1.5 * max(usual, period) / 1e6)))


def _ages(ticks: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Age of the latest message at each tick that has one, ns."""
    place = np.searchsorted(times, ticks, side="right") - 1
    return (ticks - times[place])[place >= 0] if len(times) else ticks[:0]


def _round(hz: float) -> float:
    return float(round(hz)) if hz >= 5 else round(hz, 3)
