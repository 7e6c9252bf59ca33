"""Field paths: how an embodiment file points into a decoded message.

A decoded message is whatever its encoding gives: a protobuf message, a ROS dataclass, a JSON object.
Paths look the same into all of them; see `storage_schemas.embodiment` for the notation.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from storage_schemas.embodiment import Feature

Getter = Callable[[Any], Any]
NO_STAMP = -1

_PART = re.compile(r"([^.\[\]]+)|\[(\d*)\]")


class FieldMissing(Exception):
    """The message has no such field, or it holds something else than it should."""


def getter(path: str) -> Getter:
    """A function that follows ``path`` into a message; it raises `FieldMissing`."""
    steps: list[Getter] = []
    tokens = _PART.findall(path)
    if "".join(_PART.sub("", path).split(".")):
        raise ValueError(f"{path!r} is no field path")
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
            return message[name] if isinstance(message, Mapping) else getattr(message, name)
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


def vector(feature: Feature) -> Callable[[Any], Sequence[float]]:
    """A function that reads a feature's dims, in order, from one message."""
    if any(d.field is not None for d in feature.dims):
        getters = [getter(d.field if d.field is not None else feature.field) for d in feature.dims]
        return lambda message: [float(get(message)) for get in getters]
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
        return read[first:last]

    return take


def _by_name(values: Getter, names: Getter, keys: list[str]) -> Callable[[Any], Sequence[float]]:
    known: dict[tuple[str, ...], list[int]] = {}  # joint order seldom changes: look it up once

    def take(message: Any) -> Sequence[float]:
        order = tuple(names(message))
        places = known.get(order)
        if places is None:
            try:
                places = known[order] = [order.index(k) for k in keys]
            except ValueError as e:
                raise FieldMissing(f"dim not among the names {', '.join(order)[:120]}: {e}") from e
        read = values(message)
        if len(read) < len(order):
            raise FieldMissing(f"{len(read)} values for {len(order)} names")
        return [read[i] for i in places]

    return take


def text(value: Any) -> str:
    """A scalar as the text an embodiment file compares with: true, 1, human."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def stamp(message: Any) -> int:
    """The sensor's own time of a message in ns, `NO_STAMP` where it has none.

    Looks where ROS (``header.stamp``) and Foxglove (``timestamp``) put it.
    """
    if isinstance(message, Mapping):
        header = message.get("header")
        found = header.get("stamp") if isinstance(header, Mapping) else message.get("timestamp")
    else:
        header = getattr(message, "header", None)
        found = getattr(header, "stamp", None) if header is not None else getattr(message, "timestamp", None)
    if found is None:
        return NO_STAMP
    if isinstance(found, Mapping):
        seconds, nanos = found.get("sec", 0), found.get("nanosec", found.get("nsec", 0))
    elif hasattr(found, "seconds"):
        seconds, nanos = found.seconds, found.nanos
    else:
        seconds, nanos = getattr(found, "sec", 0), getattr(found, "nanosec", getattr(found, "nsec", 0))
    try:
        return int(seconds) * 1_000_000_000 + int(nanos) or NO_STAMP
    except (TypeError, ValueError):
        return NO_STAMP
