"""Drafting an embodiment file from a log: topics by what they hold, roles by what they are called.

A guess to start from, never used unseen: units and limits are not in logs.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lwd_core.logs import stream
from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft import Draft, DraftDim, DraftFeature, render
from lwd_core.logs.fields import FieldMissing, getter
from lwd_core.logs.read import reader_of
from lwd_core.logs.rows import SUCCESS_COLUMN
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey

_EACH, _LIMIT = 200, 50_000  # messages looked at per topic, and in all
_WIDEST = 512
_NOT_DATA = re.compile(r"^(header|timestamp|stamp|seq|sequence|.*covariance|layout|frame_id)$")
_ACTION = re.compile(r"(^|[/_.])(actions?|cmd|cmd_vel|command|commands|target|setpoint|executed)($|[/_.])")
_PROPOSED = re.compile(r"propos|policy_action")
_ACTOR = re.compile(r"actor|interven|teleop|control_mode|operator")
# messages about the recording or a sensor's make, not about the robot
_NO_STATE = re.compile(
    r"(^|[./])(Log|CameraInfo|CameraCalibration|Parameter\w*|Diagnostic\w*|PointField|TimeReference)$"
)
_STATE_COLUMN = re.compile(r"^(observations?$|observation\.|obs/|states?$)")
_ACTION_COLUMNS = ("action", "actions")
_PROPOSED_COLUMNS = ("proposed_action", "complementary_info.policy_action", "policy_action")


@runtime_checkable
class _OfMessages(Protocol):
    """A reader whose log is a stream of messages."""

    def stream(self, source: LogSource) -> Any: ...


@dataclass(frozen=True)
class _Seen:
    """A topic's first messages."""

    times: list[int]
    messages: list[Any]

    @property
    def hz(self) -> float:
        gaps = [b - a for a, b in zip(self.times, self.times[1:], strict=False) if b > a]
        return 1e9 / median(gaps) if gaps else 0.0


def drafted(source: LogSource, name: str | None = None) -> str:
    """The draft of `infer` as an embodiment file's text; what a child is asked for."""
    return render(infer(source, name))


def infer(source: LogSource, name: str | None = None) -> Draft:
    """Draft an embodiment. Raises `UnreadableLog` for a log of no format, or without any vector."""
    reader = reader_of(source)
    survey = reader.survey(source)
    named = name or survey.facts.get("embodiment") or survey.facts.get("robot_type")
    # a name that a person or the log gives stays as it is: logs are matched by it
    draft = Draft(name=named or _name(source.name.partition(".")[0]), control_hz=0.0)
    for fact in ("embodiment", "robot_type", "env_name"):
        if fact in survey.facts:
            draft.match = {fact: survey.facts[fact]}
            break
    if isinstance(reader, _OfMessages):
        with reader.stream(source) as messages:
            seen = stream.samples(messages, _EACH, _LIMIT)
        told = {t: s for t, s in seen.items() if not _NO_STATE.search(survey.topics[t].schema)}
        _from_messages(draft, {t: _Seen([at for at, _ in s], [m for _, m in s]) for t, s in told.items()})
    else:
        _from_columns(draft, survey)
    if not draft.state:
        if not draft.action:
            raise UnreadableLog("no topic holds numbers an embodiment could map")
        draft.state, draft.action = draft.action, []
        draft.open.append("every vector found is called like an action; they are drafted as state")
    draft.open.append("units and limits of every dim")
    return draft


def _from_messages(draft: Draft, seen: dict[str, _Seen]) -> None:
    for topic, one in sorted(seen.items()):
        read = [m for m in one.messages if m is not None]
        if not read:
            draft.open.append(f"{topic}: its messages cannot be decoded, left out")
            continue
        first = read[0]
        if _has(first, "kind") and _has(first, "attributes"):
            draft.sections["events"] = {"topic": topic}
            draft.sections["episodes"] = {"boundary": "events"}
        elif _has(first, "data") and (_has(first, "format") or _has(first, "encoding")):
            draft.cameras.append((_name(topic.rsplit("/", 1)[-1]), topic, "data"))
        elif _ACTOR.search(topic.lower()) and (words := _words(first)):
            draft.sections["actor"] = {"topic": topic, **words}
        elif feature := _feature(topic, one, read):
            _role(draft, topic).append(feature)
    rates = {f.topic: f.hz for f in (*draft.action, *draft.state) if f.hz}
    fastest = max((f.hz for f in draft.state), default=0.0)
    acting = [f.hz for f in draft.action if f.hz]
    draft.control_hz = _round(min(acting) if acting else fastest) or 10.0
    lead = draft.state[0] if draft.state else None
    if lead and all(abs(hz - lead.hz) < 0.05 * lead.hz for hz in rates.values()):
        draft.ticks = lead.topic  # all topics tick together: its messages are the control ticks
    if not rates:
        draft.open.append("control_hz: no topic has a rate")


def _from_columns(draft: Draft, survey: Survey) -> None:
    topics = {k: t for k, t in survey.topics.items() if t.width or t.encoding == "mp4" or t.schema == "image"}
    for name, topic in topics.items():
        width = topic.width or 0
        short = _name(name.rsplit("/", 1)[-1].rsplit(".", 1)[-1])
        if topic.schema == "image" or topic.encoding == "mp4":
            if topic.schema == "image":
                draft.cameras.append((short, name, "data"))
            else:
                draft.open.append(f"cameras: [{{name: {short}, topic: {name}}}] decodes its videos to JPEG")
            continue
        labels = topic.names if len(topic.names) == width else tuple(f"{short}_{i}" for i in range(width))
        feature = DraftFeature(name, tuple(DraftDim(n) for n in _unique(labels)))
        if name in _ACTION_COLUMNS:
            draft.action.append(feature)
        elif name in _PROPOSED_COLUMNS:
            draft.proposed.append(feature)
        elif _STATE_COLUMN.match(name) and 0 < width <= _WIDEST and not name.endswith("capture_time_ns"):
            draft.state.append(feature)
    for name, topic in survey.topics.items():
        if topic.schema.startswith("struct<bytes"):
            draft.cameras.append((_name(name.rsplit(".", 1)[-1]), name, "data"))
    if SUCCESS_COLUMN not in survey.topics:
        draft.open.append("outcome: the set says nothing of success; name a column (a reward) or a default")
    fps = survey.facts.get("fps")
    draft.control_hz = float(fps) if fps else 20.0
    if not fps:
        draft.open.append("control_hz: the set does not say its rate; 20 is a guess")
    draft.source = "play" if survey.facts.get("layout") == "ogbench" else "demonstration"
    if len(draft.state) > 1:
        draft.state = [_prefixed(f) for f in draft.state]


def _prefixed(feature: DraftFeature) -> DraftFeature:
    short = _name(re.split(r"[./]", feature.topic)[-1])
    dims = tuple(
        d if d.name.startswith(short) else DraftDim(f"{short}_{d.name}", d.field, d.key, d.seen)
        for d in feature.dims
    )
    return DraftFeature(feature.topic, dims, feature.field, feature.names_field, feature.hz)


def _role(draft: Draft, topic: str) -> list[DraftFeature]:
    lower = topic.lower()
    if _PROPOSED.search(lower):
        return draft.proposed
    return draft.action if _ACTION.search(lower) else draft.state


def _feature(topic: str, one: _Seen, read: list[Any]) -> DraftFeature | None:
    """The numbers of a topic: named joints, else its widest vector, else its scalars."""
    first, short = read[0], _name(topic)
    for values, names in (("position", "name"), ("joints[].position", "joints[].name")):
        labels, width = _get(first, names), _get(first, values)
        if labels is not None and width is not None and 0 < len(labels) == len(width):
            dims = [DraftDim(_name(str(n)), key=str(n)) for n in labels]
            ranges = _ranges([_get(m, values) for m in read], len(labels))
            dims = [DraftDim(f"{short}_{d.name}", None, d.key, r) for d, r in zip(dims, ranges, strict=True)]
            return DraftFeature(topic, tuple(dims), values, names, one.hz)
    leaves = list(_leaves(first))
    vectors = [(path, len(v)) for path, v in leaves if not isinstance(v, float) and 0 < len(v) <= _WIDEST]
    if vectors:
        path, width = max(vectors, key=lambda v: v[1])
        ranges = _ranges([_get(m, path) for m in read], width)
        dims = tuple(DraftDim(f"{short}_{i}", seen=r) for i, r in enumerate(ranges))
        return DraftFeature(topic, dims, path, hz=one.hz)
    scalars = [path for path, v in leaves if isinstance(v, float)]
    if not scalars or len(scalars) > _WIDEST:
        return None
    ranges = _ranges([[_get(m, p) for p in scalars] for m in read], len(scalars))
    named = zip(scalars, ranges, strict=True)
    return DraftFeature(
        topic, tuple(DraftDim(_name(f"{short}_{p}"), field=p, seen=r) for p, r in named), hz=one.hz
    )


def _leaves(message: Any, prefix: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Numbers (as float) and vectors of numbers in a message, by path."""
    for name, value in _members(message):
        path = f"{prefix}{name}"
        if _NOT_DATA.match(name) or isinstance(value, bool | str | bytes):
            continue
        if isinstance(value, int | float):
            yield path, float(value)
        elif isinstance(value, np.ndarray):
            if value.dtype.kind in "iuf" and value.ndim == 1 and value.dtype != np.uint8:
                yield path, value
        elif _numbers(value):
            yield path, value
        elif depth:
            yield from _leaves(value, f"{path}.", depth - 1)


def _members(message: Any) -> list[tuple[str, Any]]:
    if isinstance(message, dict):
        return [(str(k), v) for k, v in message.items()]
    if hasattr(message, "DESCRIPTOR"):
        return [(f.name, getattr(message, f.name)) for f in message.DESCRIPTOR.fields]
    names = getattr(message, "__dataclass_fields__", {})
    return [(n, getattr(message, n)) for n in names if not n.startswith("__") and not n.isupper()]


def _numbers(value: Any) -> bool:
    return (
        hasattr(value, "__len__")
        and not hasattr(value, "keys")
        and len(value) > 0
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    )


def _words(message: Any) -> dict[str, str]:
    """Fields of an actor rule, where a message has a text or a flag that could say who is in control."""
    members = dict(_members(message))
    for path in ("actor", "data", "mode"):
        if isinstance(members.get(path), str | bool):
            found = {"field": path}
            found |= {"operator": "operator"} if "operator" in members else {}
            return found | ({"policy": "policy_id"} if "policy_id" in members else {})
    return {}


def _ranges(rows: Sequence[Any], width: int) -> list[tuple[float, float] | None]:
    """Smallest and largest value of each dim over the rows of the right width."""
    whole = [list(r) for r in rows if r is not None and len(r) == width]
    if not whole:
        return [None] * width
    try:
        values = np.array(whole, dtype=np.float64)
    except (TypeError, ValueError):
        return [None] * width
    return [(float(a), float(b)) for a, b in zip(values.min(axis=0), values.max(axis=0), strict=True)]


def _get(message: Any, path: str) -> Any:
    try:
        return getter(path)(message)
    except (FieldMissing, TypeError):
        return None


def _has(message: Any, name: str) -> bool:
    return any(name == member for member, _ in _members(message))


def _name(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_").lower() or "unnamed"


def _unique(names: Sequence[str]) -> list[str]:
    clean = [_name(n) for n in names]
    return [n if clean.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(clean)]


def _round(hz: float) -> float:
    return float(round(hz)) if hz >= 5 else round(hz, 3)
