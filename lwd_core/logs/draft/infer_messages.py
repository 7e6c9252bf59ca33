"""Drafting an embodiment from a message log: topics by what they hold, roles by what they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lwd_core.logs.clock import COLLAPSED_NS
from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft import infer_episodes, infer_pairing, roles
from lwd_core.logs.draft.draft import Draft, DraftDim, DraftFeature, assign
from lwd_core.logs.draft.look import TopicSample
from lwd_core.logs.draft.naming import clean, short_names
from lwd_core.logs.draft.shapes import Shape, limits, odd, shape_of, together, usable
from lwd_core.logs.steps import Track, steps

_SCALARS = 64  # more single numbers than that are a status report
_STEPS = 3  # of a clock that are named one by one


def fill(draft: Draft, seen: Mapping[str, TopicSample]) -> None:
    """Fill the draft with what the topics hold; what is not mapped is asked in ``draft.open``."""
    vectors: dict[str, Shape] = {}
    left: list[str] = []
    for topic, one in sorted(seen.items()):
        if roles.no_state(one.schema) or not len(one.times):
            left.append(f"{topic} ({one.schema or 'no schema'}{'' if len(one.times) else ', no message'})")
        elif not one.messages:
            draft.open.append(f"{topic}: cannot be decoded, left out: {one.fault}")
        elif not (_says(draft, topic, one) or _pictures(draft, topic, one)):
            vectors[topic] = shape_of(topic, one)
    _features(draft, seen, vectors, left)
    if left:
        draft.open.append(f"not mapped: {', '.join(left)}")
    if not (draft.state or draft.action or draft.proposed):
        return
    _together(draft, seen)
    assign(draft)
    # the grid of ticks is laid along the first state, so it is one that is always known
    fastest = max((f.hz for f in draft.state), default=0.0)
    draft.state.sort(key=lambda f: f.hz < 0.9 * fastest)
    _names(draft)
    _clock(draft, seen)
    restarts = infer_episodes.restarts_of(draft, seen)
    stretch = _longest(seen, restarts if len(restarts) else _clock_set(draft, seen))
    infer_pairing.fill(draft, stretch)
    infer_episodes.fill(draft, stretch, len(restarts))


def _says(draft: Draft, topic: str, one: TopicSample) -> bool:
    """Whether the topic tells of episodes or of who acts."""
    if rule := roles.events(topic, one):
        if "events" in draft.sections:
            draft.open.append(
                f"{topic}: tells of events too; only {draft.sections['events']['topic']} is read"
            )
        else:
            draft.sections["events"] = rule
        return True
    for section, found in (("actor", roles.actor(topic, one)), ("episodes", roles.episode_flag(topic, one))):
        if found and section not in draft.sections:
            draft.sections[section] = found
            return True
    return False


def _pictures(draft: Draft, topic: str, one: TopicSample) -> bool:
    try:
        fault = roles.camera(one)
    except LookupError:
        return False
    if fault:
        draft.open.append(f"{topic}: its pictures cannot be read ({fault}), left out")
    else:
        draft.cameras.append((topic, topic, "data"))
    return True


def _features(
    draft: Draft, seen: Mapping[str, TopicSample], vectors: Mapping[str, Shape], left: list[str]
) -> None:
    led = any(roles.follows(t) for t in vectors)
    for topic, shape in vectors.items():
        one = seen[topic]
        rule, question = roles.outcome(topic, one, shape.scalars)
        if rule and "outcome" not in draft.sections:
            draft.sections["outcome"] = rule
        if question:
            draft.open.append(question)
        if len(one.times) < 2:
            left.append(f"{topic} ({one.schema}, one message)")
            continue
        features = [(roles.role(topic, f.field, one.schema, led), f) for f in shape.named]
        features += _vectors(topic, shape, one, led, {kind for kind, _ in features})
        verdict = roles.is_verdict(topic)
        scalars = {p: v for p, v in shape.scalars.items() if not verdict and not roles.is_verdict(p)}
        if not features and len(scalars) <= _SCALARS:
            features = _scalars(topic, shape, scalars, one, led)
            scalars = {}
        for kind, feature in features:
            _of(draft, kind).append(feature)
        draft.open += shape.remarks
        mapped = {f.field for _, f in features} | {d.field for _, f in features for d in f.dims}
        also = [p for p, v in shape.vectors.items() if p not in mapped and usable(v.ravel())]
        also = [p for p in (*also, *scalars) if p]
        if also and features:
            more = f" and {len(also) - 8} more" if len(also) > 8 else ""
            draft.open.append(f"{topic}: also holds {', '.join(also[:8])}{more}; not mapped")
        elif not features and not rule and not question:
            left.append(f"{topic} ({one.schema or 'no schema'}, no number)")


def _vectors(
    topic: str, shape: Shape, one: TopicSample, led: bool, taken: set[str]
) -> list[tuple[str, DraftFeature]]:
    """The widest vector for each role that is not ``taken``."""
    by_role: dict[str, list[str]] = {}
    for path in shape.vectors:
        kind = roles.role(topic, path, one.schema, led)
        if kind not in taken:
            by_role.setdefault(kind, []).append(path)
    widest = {kind: max(paths, key=lambda p: shape.vectors[p].shape[1]) for kind, paths in by_role.items()}
    found = {k: _vector(topic, path, shape.vectors[path], one, shape.remarks) for k, path in widest.items()}
    return [(kind, feature) for kind, feature in found.items() if feature]


def _scalars(
    topic: str, shape: Shape, scalars: dict[str, np.ndarray], one: TopicSample, led: bool
) -> list[tuple[str, DraftFeature]]:
    """Single numbers by role, those of other drivers apart."""
    features = []
    for path, table in scalars.items():
        if remark := odd(table[:, 0]):
            shape.remarks.append(f"{topic}: {path} {remark}")
    for paths, hz in together({p: t for p, t in scalars.items() if usable(t[:, 0])}, shape, one):
        for kind in ("state", "action", "proposed"):
            mine = [p for p in paths if roles.role(topic, p, one.schema, led) == kind]
            dims = tuple(DraftDim(p, field=p, seen=limits(scalars[p][:, 0])) for p in mine)
            if dims:
                features.append((kind, DraftFeature(topic, dims, hz=hz)))
    return features


def _of(draft: Draft, kind: str) -> list[DraftFeature]:
    return {"state": draft.state, "action": draft.action, "proposed": draft.proposed}[kind]


def _vector(
    topic: str, path: str, table: np.ndarray, one: TopicSample, remarks: list[str]
) -> DraftFeature | None:
    """A vector's dims by place; where some are never a number, the others each by a path of their own."""
    good = [usable(column) for column in table.T]
    for i, column in enumerate(table.T):
        if remark := odd(column):
            remarks.append(f"{topic}: {path}[{i}] {remark}")
    seen = [limits(column) for column in table.T]
    if all(good):
        return DraftFeature(
            topic, tuple(DraftDim(str(i), seen=s) for i, s in enumerate(seen)), path, hz=one.hz
        )
    dims = [DraftDim(str(i), field=f"{path}[{i}]", seen=seen[i]) for i, usable_ in enumerate(good) if usable_]
    return DraftFeature(topic, tuple(dims), hz=one.hz) if dims else None


def _names(draft: Draft) -> None:
    """Cameras and dims by short names of their topics; an action's joints in the order of the state's."""
    cameras = short_names([topic for _, topic, _ in draft.cameras])
    draft.cameras = [(cameras[topic], topic, path) for _, topic, path in draft.cameras]
    joints = {d.key: i for i, d in enumerate(d for f in draft.state for d in f.dims if d.key)}
    for kind in ("state", "action", "proposed"):
        features = _of(draft, kind)
        short = short_names([f.topic for f in features])
        for i, f in enumerate(features):
            dims = f.dims
            if kind != "state" and f.names_field and all(d.key in joints for d in dims):
                dims = tuple(sorted(dims, key=lambda d: joints[d.key]))
            dims = tuple(replace(d, name=clean(f"{short[f.topic]}_{clean(d.name)}")) for d in dims)
            features[i] = replace(f, dims=dims)


def _together(draft: Draft, seen: Mapping[str, TopicSample]) -> None:
    """Leave out states that speak for less than half of the time: where one is unknown, no row is valid."""
    lead = [*draft.action, *(f for f in draft.state if f.names_field)] or draft.state
    if not lead:
        return
    times = max((seen[f.topic].times for f in lead), key=np.ptp)
    first, last = times.min(), times.max()
    for f in list(draft.state):
        own = seen[f.topic].times
        both = min(last, own.max()) - max(first, own.min())
        if 2 * both < last - first:
            draft.state.remove(f)
            draft.open.append(
                f"{f.topic}: speaks for {max(0, both) / 1e9:.3g} of {(last - first) / 1e9:.3g} s, left out"
            )


def _clock_set(draft: Draft, seen: Mapping[str, TopicSample]) -> list[int]:
    """Numbers of the messages before which the clock of all topics was set, which is said."""
    topics = dict.fromkeys(f.topic for f in (*draft.action, *draft.state))
    try:
        found, _ = steps([Track(t, seen[t].index, seen[t].times) for t in topics])
    except UnreadableLog as error:
        draft.open.append(f"time: {error}")
        return []
    draft.open += [f"time: {step}; each part is an episode of its own" for step in found[:_STEPS]]
    if len(found) > _STEPS:
        draft.open.append(f"time: the clock was set {len(found) - _STEPS} times more")
    return [step.number for step in found]


def _longest(seen: Mapping[str, TopicSample], cuts: Sequence[int] | np.ndarray) -> Mapping[str, TopicSample]:
    """What was seen in the longest part between ``cuts``: times of two parts do not compare."""
    if not len(cuts):
        return seen
    end = max(int(one.index[-1]) for one in seen.values() if len(one.index)) + 1
    first, stop = max(pairwise([0, *map(int, cuts), end]), key=lambda part: part[1] - part[0])
    return {topic: one.within(first, stop) for topic, one in seen.items()}


def _clock(draft: Draft, seen: Mapping[str, TopicSample]) -> None:
    """Take the sensors' stamps where the log's own are collapsed, and say where there are none."""
    features = [*draft.state, *draft.action]
    if any(seen[f.topic].clock == "header" for f in features):
        draft.clock = "header"
        draft.open.append("the log's times are collapsed, its messages' own stamps count: `clock: header`")
    elif any(f.hz > 1e9 / COLLAPSED_NS for f in features):
        draft.open.append(
            "the log's stamps are collapsed: `time: {clock: nominal, ticks: TOPIC}` and a control_hz"
        )
