"""What numbers a topic's messages hold: named joints, vectors, single numbers, by path.

Judged by all the messages kept of a topic: their usual width, the union of their joints' names.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwd_core.logs.draft.draft import DraftDim, DraftFeature
from lwd_core.logs.draft.look import TopicSample, rate
from lwd_core.logs.fields import FieldMissing, getter

WIDEST = 512
_RARE = 0.05  # of a topic's messages
_DRIVERS = 4  # more sets of names than drivers that would share a topic: they change, and stay one vector
_NOT_DATA = re.compile(
    r"header|timestamp\w*|time|time_ns|t_ns|stamp|stamp_ns|time_from_start|seq|sequence|.*covariance|layout|"
    r"frame_id|n?secs?|nanosec|nanos|seconds"
)
_PATH_PART = re.compile(r"[^.\[\]\s]+")
_NAMES = ("joint_names", "name", "names")
_NAMED = ("position", "positions", "points[0].positions", "actual.positions", "feedback.positions")
_NAMED_ELSE = ("velocity", "velocities", "effort", "efforts", "values", "data")
_WITHIN = ("", "goal.trajectory.", "trajectory.", "state.", "joint_state.")


@dataclass
class Shape:
    """The numbers of one topic.

    ``named`` are vectors with names beside them, one a driver where several share the topic; ``vectors``
    and ``scalars`` are (path, values (M, D)) of messages of the usual width. ``holds`` says by path which of
    the messages kept have it; ``remarks`` say what is odd.
    """

    named: list[DraftFeature] = field(default_factory=list)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    holds: dict[str, tuple[int, ...]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def shape_of(topic: str, seen: TopicSample) -> Shape:
    """The numbers of ``topic``. Names of dims are what the log calls them."""
    found = Shape()
    paths = _named_paths(seen.messages)
    if paths:
        found.named = _drivers(topic, seen, *paths, found.remarks)
    rows: dict[str, list[list[float]]] = {}
    held: dict[str, list[int]] = {}
    odd_names: dict[str, None] = {}
    for i, message in enumerate(seen.messages):
        for path, value in leaves(message, odd_names):
            rows.setdefault(path, []).append(value)
            held.setdefault(path, []).append(i)
    found.holds = {path: tuple(at) for path, at in held.items()}
    if odd_names:
        found.remarks.append(f"{topic}: no path leads to {', '.join(list(odd_names)[:6])}; left out")
    for path, values in rows.items():
        if paths and path == paths[0]:
            continue
        widths = Counter(len(v) for v in values if v)
        if not widths:
            continue
        width, often = widths.most_common(1)[0]
        if width > WIDEST:
            found.remarks.append(f"{topic}: {path or 'its vector'} has more than {WIDEST} numbers, left out")
            continue
        if often < len(values) and len(widths) > 1:
            found.remarks.append(
                f"{topic}: {path or 'its vector'} has {', '.join(map(str, sorted(widths)))} numbers; "
                f"{width} are drafted, shorter messages are left out"
            )
        table = np.array([v for v in values if len(v) == width], dtype=np.float64)
        (found.vectors if _is_vector(seen.messages, path) else found.scalars)[path] = table
    rare = [p for p, v in found.scalars.items() if len(v) < _RARE * len(seen.messages)]
    found.scalars = {p: v for p, v in found.scalars.items() if p not in rare}
    if rare:
        found.remarks.append(f"{topic}: few of its messages hold {', '.join(rare[:6])}; left out")
    return found


def _is_vector(messages: Sequence[Any], path: str) -> bool:
    values = (get(m, path) for m in messages)
    return any(hasattr(v, "__len__") for v in values) or path == ""


def _named_paths(messages: Sequence[Any]) -> tuple[str, str] | None:
    """Paths of values and of their names, where most messages that name something have as many of both."""
    pairs = [(f"{w}{v}", f"{w}{n}") for w in _WITHIN for n in _NAMES for v in _NAMED]
    pairs += [("joints[].position", "joints[].name")]
    pairs += [(f"{w}{v}", f"{w}{n}") for w in _WITHIN for n in _NAMES for v in _NAMED_ELSE]
    for values, names in pairs:
        fits = [_labels(m, values, names) for m in messages]
        if any(fits):
            return values, names
    return None


def _labels(message: Any, values: str, names: str) -> tuple[str, ...]:
    """The names of a message's values, none where it has not as many."""
    labels = get(message, names)
    if labels is None or isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        return ()
    read = get(message, values)
    if len(labels) == 0 or read is None or not hasattr(read, "__len__") or len(read) != len(labels):
        return ()
    texts = all(isinstance(label, str) for label in labels)
    return tuple(labels) if texts and len(set(labels)) == len(labels) and numbers(read) else ()


def _drivers(
    topic: str, seen: TopicSample, values: str, names: str, remarks: list[str]
) -> list[DraftFeature]:
    """A vector a driver: joints that come in the same messages."""
    labels = [_labels(m, values, names) for m in seen.messages]
    if empty := sum(not one for one in labels):
        remarks.append(f"{topic}: {empty} of {len(labels)} messages looked at name nothing")
    order = list(dict.fromkeys(label for one in labels for label in one))[:WIDEST]
    has = {label: tuple(label in one for one in labels) for label in order}
    groups: dict[tuple[bool, ...], list[str]] = {}
    for label in order:
        groups.setdefault(has[label], []).append(label)
    if len(groups) > _DRIVERS:
        groups = {tuple(bool(one) for one in labels): order}
    if len(groups) > 1:
        remarks.append(f"{topic}: its messages name different joints; each set is a vector of its own")
    features = []
    for holds, joints in groups.items():
        at = [i for i, h in enumerate(holds) if h]
        tables: dict[str, list[float]] = {j: [] for j in joints}
        for i in at:
            for label, value in zip(labels[i], get(seen.messages[i], values), strict=True):
                if label in tables:
                    tables[label].append(float(value))
        dims = []
        for joint in joints:
            column = np.array(tables[joint])
            if remark := odd(column):
                remarks.append(f"{topic}: {joint} {remark}")
            if usable(column):
                dims.append(DraftDim(joint, key=joint, seen=limits(column)))
        share = 1.0 if len(groups) == 1 else len(at) / max(1, len(labels))
        together = seen.at[at] if len(groups) > 1 else None
        hz = seen.hz if together is None else _rate_of(seen, together, share)
        if dims:
            features.append(DraftFeature(topic, tuple(dims), values, names, hz))
    return features


def together(
    scalars: dict[str, np.ndarray], shape: Shape, seen: TopicSample
) -> list[tuple[list[str], float]]:
    """Paths of numbers that come in the same messages, and their rate."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for path in scalars:
        groups.setdefault(shape.holds[path], []).append(path)
    if len(groups) > _DRIVERS or len(groups) < 2:
        return [(list(scalars), seen.hz)] if scalars else []
    count = max(1, len(seen.messages))
    return [(paths, _rate_of(seen, seen.at[list(at)], len(at) / count)) for at, paths in groups.items()]


def _rate_of(seen: TopicSample, places: np.ndarray, share: float) -> float:
    """The rate of some of a topic's messages: from those at its beginning, which are kept one by one."""
    first = places[places < 120]
    if len(first) > 2:
        return rate(seen.times[first])
    return len(seen.times) * share / (seen.span / 1e9) if seen.span else 0.0


def usable(column: np.ndarray) -> bool:
    """Whether a float32 row can hold any of these values."""
    return bool(_finite(column).any())


def odd(column: np.ndarray) -> str | None:
    """What is wrong with some of a column's values."""
    bad = int((~_finite(column)).sum())
    if bad == len(column):
        return "is never a finite number, left out"
    return (
        f"is no finite number in {bad} of {len(column)} messages looked at; such rows are masked"
        if bad
        else None
    )


def _finite(column: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.isfinite(column.astype(np.float32))


def limits(column: np.ndarray) -> tuple[float, float] | None:
    """Smallest and largest finite value."""
    kept = column[_finite(column)]
    return (float(kept.min()), float(kept.max())) if len(kept) else None


def leaves(
    message: Any, odd_names: dict[str, None], prefix: str = "", depth: int = 4
) -> Iterator[tuple[str, list[float]]]:
    """Numbers and vectors of numbers in a message, by path; a number is a vector of one.

    Names of numbers that no path can be written to are put into ``odd_names``.
    """
    if not prefix and (number(message) or numbers(message)):
        yield "", _floats(message)
        return
    for name, value in members(message):
        if _NOT_DATA.fullmatch(name) or isinstance(value, bool | str | bytes):
            continue
        if not _PATH_PART.fullmatch(name):
            if number(value) or numbers(value):
                odd_names[repr(name)] = None
            continue
        path = f"{prefix}{name}"
        if number(value) or numbers(value):
            yield path, _floats(value)
        elif depth and (isinstance(value, dict) or not hasattr(value, "__len__")):
            yield from leaves(value, odd_names, f"{path}.", depth - 1)


def _floats(value: Any) -> list[float]:
    values = value if hasattr(value, "__len__") else [value]
    return [_float(v) for v in values[: WIDEST + 1]]


def _float(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except OverflowError:
        return float("inf")


def members(message: Any) -> list[tuple[str, Any]]:
    """Fields of a decoded message by name."""
    if isinstance(message, dict):
        return [(str(k), v) for k, v in message.items()]
    if hasattr(message, "DESCRIPTOR"):
        return [(f.name, getattr(message, f.name)) for f in message.DESCRIPTOR.fields]
    names = getattr(message, "__dataclass_fields__", {})
    return [(n, getattr(message, n)) for n in names if not n.startswith("__") and not n.isupper()]


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers(value: Any) -> bool:
    """Whether it is a vector of numbers, empty or not; bytes and pictures are none."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iuf" and value.ndim == 1 and value.dtype != np.uint8
    if not hasattr(value, "__len__") or hasattr(value, "keys") or isinstance(value, str | bytes):
        return False
    # JSON has no NaN: what is null among numbers is no number
    return all(number(v) or v is None for v in value) and (not len(value) or any(map(number, value)))


def get(message: Any, path: str) -> Any:
    """What lies at a path, None where nothing does."""
    try:
        return getter(path)(message)
    except (FieldMissing, TypeError):
        return None
