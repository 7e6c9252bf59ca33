"""Drafting where episodes begin and end: events, a flag, a clock that starts again, silences."""

from collections.abc import Mapping

import numpy as np

from lwd_core.logs.draft import Draft
from lwd_core.logs.look import Seen
from lwd_core.logs.restarts import restarts

_SILENCE_NS, _PERIODS = 2_000_000_000, 20  # a pause between episodes is longer than both
_ALONE_NS = 5_000_000_000  # one pause by itself might be a fault unless it is longer


def fill(draft: Draft, seen: Mapping[str, Seen]) -> None:
    """Propose a boundary rule, and say what is not known of the episodes' ends."""
    events = draft.sections.get("events")
    if events:
        draft.sections["episodes"] = {"boundary": "events"}
    elif "episodes" not in draft.sections and (rule := _by_time(draft, seen)):
        draft.sections["episodes"] = rule
    told = events and ("success" in events or events.get("kind", "kind") == "kind")
    asked = any(question.startswith("outcome:") for question in draft.open)
    if not told and not asked and "outcome" not in draft.sections:
        draft.open.append(
            "outcome: no event, flag or reward tells success; name a topic, or outcome: {default: …}"
        )


def _by_time(draft: Draft, seen: Mapping[str, Seen]) -> dict[str, object] | None:
    topics = dict.fromkeys(f.topic for f in (*draft.state, *draft.action))
    if not topics:
        return None
    index = np.concatenate([seen[t].index for t in topics])
    times = np.concatenate([seen[t].times for t in topics])[np.argsort(index)]
    period = 1e9 / draft.control_hz
    cuts = restarts(times, period)
    if len(cuts):
        starts = times[np.append(0, cuts)]
        alike = all(len(restarts(seen[t].times, period)) == len(cuts) for t in topics)
        if not alike and np.ptp(starts) <= 2.5 * period:
            return None  # topics written one behind the other
        if np.ptp(starts) <= 2.5 * period:
            draft.open.append(f"episodes: time starts again {len(cuts)} times; each time begins an episode")
            return {"boundary": "restart"}
        draft.open.append(f"the log's clock goes back {len(cuts)} times")
        return None
    gaps = np.diff(np.sort(seen[next(iter(topics))].times))
    long = gaps[gaps > max(_SILENCE_NS, _PERIODS * period)]
    if len(long) > 1 or (len(long) and long[0] > _ALONE_NS):
        draft.open.append(
            f"episodes: {len(long)} silences of {long.min() / 1e9:.3g} s or more, drafted as ends of episodes"
        )
        return {"boundary": "gap", "gap_s": round(float(long.min()) / 2e9, 3)}
    return None
