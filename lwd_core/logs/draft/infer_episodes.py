"""Drafting where episodes begin and end: events, a flag, a clock that starts again, silences."""

from collections.abc import Mapping

import numpy as np

from lwd_core.logs.draft.draft import Draft
from lwd_core.logs.draft.look import TopicSample
from lwd_core.logs.restarts import restarts

_SILENCE_NS, _PERIODS = 2_000_000_000, 20  # a pause between episodes is longer than both
_ALONE_NS = 5_000_000_000  # one pause by itself might be a fault unless it is longer


def restarts_of(draft: Draft, seen: Mapping[str, TopicSample]) -> np.ndarray:
    """Numbers of the messages at which time starts again, each time at the same moment."""
    features = [*draft.state, *draft.action]
    topics = list(dict.fromkeys(f.topic for f in features))
    rates = [f.hz for f in features if f.hz]
    if not rates:
        return np.empty(0, np.int64)
    period = 1e9 / max(rates)
    index = np.concatenate([seen[t].index for t in topics])
    order = np.argsort(index)
    times = np.concatenate([seen[t].times for t in topics])[order]
    cuts = restarts(times, period)
    # topics that were written one behind the other start again too, but not each of them
    each = all(len(restarts(seen[t].times, period)) == len(cuts) for t in topics)
    if each and np.ptp(times[np.append(0, cuts)]) <= 2.5 * period:
        return index[order][cuts]
    return np.empty(0, np.int64)


def fill(draft: Draft, seen: Mapping[str, TopicSample], starts: int) -> None:
    """Propose a boundary rule, and say what is not known of the episodes' ends.

    ``starts``: how often time starts again.
    """
    events = draft.sections.get("events")
    if events:
        draft.sections["episodes"] = {"boundary": "events"}
    elif "episodes" not in draft.sections and starts:
        draft.open.append(f"episodes: time starts again {starts} times; each time begins an episode")
        draft.sections["episodes"] = {"boundary": "restart"}
    elif "episodes" not in draft.sections and (rule := _silences(draft, seen)):
        draft.sections["episodes"] = rule
    told = events and ("success" in events or events.get("kind", "kind") == "kind")
    asked = any(question.startswith("outcome:") for question in draft.open)
    if not told and not asked and "outcome" not in draft.sections:
        draft.open.append(
            "outcome: no event, flag or reward tells success; name a topic, or outcome: {default: …}"
        )


def _silences(draft: Draft, seen: Mapping[str, TopicSample]) -> dict[str, object] | None:
    topics = [f.topic for f in (*draft.state, *draft.action)]
    period = 1e9 / draft.control_hz
    gaps = np.diff(np.sort(seen[topics[0]].times))
    long = gaps[gaps > max(_SILENCE_NS, _PERIODS * period)]
    if len(long) > 1 or (len(long) and long[0] > _ALONE_NS):
        draft.open.append(
            f"episodes: {len(long)} silences of {long.min() / 1e9:.3g} s or more, drafted as ends of episodes"
        )
        return {"boundary": "gap", "gap_s": round(float(long.min()) / 2e9, 3)}
    return None
