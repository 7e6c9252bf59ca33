"""Field paths: how an embodiment file points into a decoded message.

A decoded message is whatever its encoding gives: a protobuf message, a ROS dataclass, a JSON object.
Paths look the same into all of them; see `storage_schemas.embodiment` for the notation.
"""

import re
import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from storage_schemas.embodiment import Feature

Getter = Callable[[Any], Any]
NO_STAMP = -1
_ABSENT_BITS = 0x7FF8_0000_4C57_4400
#: A dim that a message does not hold; a NaN of its own, so that a column stays packed numbers.
ABSENT: float = struct.unpack("<d", struct.pack("<Q", _ABSENT_BITS))[0]

_NAMES = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_PART = re.compile(r"([^.\[\]]+)|\[(\d*)\]")


class FieldMissing(Exception):
    """The message has no such field, or it holds something else than it should."""


class Elsewhere(FieldMissing):
    """The message holds none of the wanted dims: it may be of another driver on the same topic."""


class NotNamed(Elsewhere):
    """The message names others than the wanted dims: it is of another driver."""


def is_absent(values: np.ndarray) -> np.ndarray:
    """Where (N, D) float64 ``values`` are `ABSENT`, which no NaN of a log is."""
    return np.ascontiguousarray(values).view(np.int64) == _ABSENT_BITS


def getter(path: str) -> Getter:
    """A function that follows ``path`` into a message; it raises `FieldMissing`."""
    steps = _steps(path)
    if not _NAMES.fullmatch(path):
        return steps
    attributes = attrgetter(path)  # the common case, in one call

    def follow(message: Any) -> Any:
        if isinstance(message, dict):
            return steps(message)
        try:
            return attributes(message)
        except AttributeError:
            return steps(message)  # names what is missing, and reads objects within messages

    return follow


def _steps(path: str) -> Getter:
    steps: list[Getter] = []
    tokens = _PART.findall(path)
    for i, (name, index) in enumerate(tokens):
        if name:
            steps.append(_member(name))
        elif index:
            steps.append(_element(int(index)))
        else:
            rest = _chain([_member(n) if n else _element(int(k)) for n, k in tokens[i + 1 :]])
            steps.append(lambda many, rest=rest: [rest(one) for one in many])
            break
    return _chain(steps)


def _chain(steps: list[Getter]) -> Getter:
    if len(steps) == 1:
        return steps[0]

    def follow(message: Any) -> Any:
        for step in steps:
            message = step(message)
        return message

    return follow


def _member(name: str) -> Getter:
    def member(message: Any) -> Any:
        try:
            return message[name] if isinstance(message, dict) else getattr(message, name)
        except (AttributeError, KeyError) as e:
            raise FieldMissing(f"no field {name}") from e

    return member


def _element(index: int) -> Getter:
    def element(message: Any) -> Any:
        try:
            return message[index]
        except (IndexError, KeyError, TypeError) as e:
            raise FieldMissing(f"no element {index}") from e

    return element


def mapped(features: Sequence[Feature]) -> dict[tuple[str, str], int]:
    """Up to which element each vector, by topic and field, is mapped by features that take it in order."""
    ends: dict[tuple[str, str], int] = {}
    for f in features:
        if f.names_field is None and not any(d.field is not None for d in f.dims):
            ends[f.topic, f.field] = max(ends.get((f.topic, f.field), 0), f.start + len(f.dims))
    return ends


def vector(
    feature: Feature, end: int = 0, wider: Callable[[int], None] = lambda width: None
) -> Callable[[Any], Sequence[float]]:
    """A function that reads a feature's dims, in order, from one message.

    Dims that a message does not hold are `ABSENT`; it raises `Elsewhere` where it holds none. ``wider`` hears
    of the width of every vector that goes on behind element ``end``.
    """
    if any(d.field is not None for d in feature.dims):
        return _by_path([getter(d.field if d.field is not None else feature.field) for d in feature.dims])
    values = getter(feature.field)
    if feature.names_field is not None:
        return _by_name(values, getter(feature.names_field), [d.key or d.name for d in feature.dims])
    first, last = feature.start, feature.start + len(feature.dims)

    def take(message: Any) -> Sequence[float]:
        read = values(message)
        try:
            width = len(read)
        except TypeError:
            read, width = [read], 1
        if first == 0 and width == last:
            return read
        if width < last:
            raise FieldMissing(f"{width} values where {last} are needed")
        if width > max(end, last):
            wider(width)
        return read[first:last]

    return take


def _by_path(getters: list[Getter]) -> Callable[[Any], Sequence[float]]:
    def take(message: Any) -> Sequence[float]:
        try:
            return [float(get(message)) for get in getters]
        except FieldMissing as e:
            missing = str(e)
        read, held = [ABSENT] * len(getters), 0
        for i, get in enumerate(getters):
            try:
                read[i] = float(get(message))
                held += 1
            except FieldMissing:
                continue
        if not held:
            raise Elsewhere(missing)
        return read

    return take


def _by_name(values: Getter, names: Getter, keys: list[str]) -> Callable[[Any], Sequence[float]]:
    known: dict[tuple[str, ...], list[int]] = {}  # joint order seldom changes: look it up once

    def take(message: Any) -> Sequence[float]:
        order = tuple(names(message))
        places = known.get(order)
        if places is None:
            at = {name: i for i, name in reversed(list(enumerate(order)))}
            places = known[order] = [at.get(key, -1) for key in keys]
        if max(places) < 0:
            raise NotNamed(f"none of the dims among the names {', '.join(map(str, order))[:120] or '(none)'}")
        read = values(message)
        if len(read) < len(order):
            raise FieldMissing(f"{len(read)} values for {len(order)} names")
        if min(places) < 0:
            return [read[i] if i >= 0 else ABSENT for i in places]
        return [read[i] for i in places]

    return take


def text(value: Any) -> str:
    """A scalar as the text an embodiment file compares with: true, 1, human."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class HeaderStamps:
    """The sensor's own time of messages in ns, `NO_STAMP` where they have none.

    Looks where ROS (``header.stamp``) and Foxglove (``timestamp``) put it; once for each class of messages.
    """

    def __init__(self) -> None:
        self._of: dict[type, Callable[[Any], int]] = {}

    def __call__(self, message: Any) -> int:
        found = self._of.get(type(message))
        if found is None:
            found = self._of[type(message)] = _find_stamp(message)
        return found(message)


def _find_stamp(message: Any) -> Callable[[Any], int]:
    """How to read the stamp of messages of this type; a function of the type but for dicts."""
    if isinstance(message, dict):
        return _dict_stamp
    if hasattr(getattr(message, "header", None), "stamp"):
        return _stamp_reader("header.stamp", message)
    if hasattr(message, "timestamp"):
        return _stamp_reader("timestamp", message)
    return lambda message: NO_STAMP


def _dict_stamp(message: dict[str, Any]) -> int:
    header = message.get("header")
    found = header.get("stamp") if isinstance(header, dict) else message.get("timestamp")
    if not isinstance(found, dict):
        return NO_STAMP
    return _ns(found.get("sec", 0), found.get("nanosec", found.get("nsec", 0)))


def _stamp_reader(path: str, message: Any) -> Callable[[Any], int]:
    found = attrgetter(path)(message)
    for seconds, nanos in (("seconds", "nanos"), ("sec", "nanosec"), ("sec", "nsec")):
        if hasattr(found, nanos):
            get = attrgetter(f"{path}.{seconds}", f"{path}.{nanos}")
            return lambda message: _ns(*get(message))
    return lambda message: NO_STAMP


def _ns(seconds: Any, nanos: Any) -> int:
    try:
        ns = int(seconds) * 1_000_000_000 + int(nanos)
    except (TypeError, ValueError, OverflowError):
        return NO_STAMP
    return ns if 0 < ns < 1 << 63 else NO_STAMP
