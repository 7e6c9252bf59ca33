"""A drafted embodiment file: what was guessed, as YAML a person can go over."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lwd_core.logs.draft.naming import clean as clean
from lwd_core.logs.draft.naming import unique as unique

_FASTEST = 100_000.0  # what an embodiment file takes as a rate
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


@dataclass(frozen=True)
class DraftDim:
    """A dim; ``seen`` is the range found in the log."""

    name: str
    field: str | None = None
    key: str | None = None
    seen: tuple[float, float] | None = None


@dataclass(frozen=True)
class DraftFeature:
    """A vector; ``hz`` is the rate of its topic in the log, 0 where it has none.

    ``staleness_ms`` where the file's default would mask a topic of its rate; ``pairing`` and ``delay_ms`` of
    an action where stamps tell.
    """

    topic: str
    dims: tuple[DraftDim, ...]
    field: str = ""
    names_field: str | None = None
    hz: float = 0.0
    staleness_ms: float | None = None
    pairing: str | None = None
    delay_ms: float | None = None


@dataclass
class Draft:
    """Everything guessed. ``open`` are questions only a person can answer."""

    name: str
    control_hz: float
    ticks: str | None = None
    clock: str = "log"
    match: dict[str, str] = field(default_factory=dict)
    state: list[DraftFeature] = field(default_factory=list)
    action: list[DraftFeature] = field(default_factory=list)
    proposed: list[DraftFeature] = field(default_factory=list)
    cameras: list[tuple[str, str, str]] = field(default_factory=list)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: str = "rollout"
    open: list[str] = field(default_factory=list)


def assign(draft: Draft) -> None:
    """See that there is a state where there is anything, and say where there is no action."""
    if draft.proposed and not draft.action:
        draft.action, draft.proposed = draft.proposed, []
        draft.open.append("what the policy proposes is the only action found; is it what was executed?")
    if draft.action and not draft.state:
        draft.state, draft.action = draft.action, []
        draft.open.append("every vector found is called like an action; they are drafted as state")
    if draft.state and not draft.action:
        draft.open.append(
            "NO ACTION was found: nothing is called like a command; name its topic under action"
        )


def settle(draft: Draft) -> None:
    """Make the draft keep an embodiment file's own rules: names of their own, as many proposed as acted.

    What has to go for it is asked in ``open``.
    """
    for kind in ("state", "action", "proposed"):
        features: list[DraftFeature] = getattr(draft, kind)
        names = iter(unique([d.name for f in features for d in f.dims]))
        named = [replace(f, dims=tuple(replace(d, name=next(names)) for d in f.dims)) for f in features]
        setattr(draft, kind, named)
    cameras = unique([name for name, _, _ in draft.cameras])
    draft.cameras = [(name, *c[1:]) for name, c in zip(cameras, draft.cameras, strict=True)]
    wide, acts = (sum(len(f.dims) for f in kind) for kind in (draft.proposed, draft.action))
    if draft.proposed and wide != acts:
        topics = ", ".join(f.topic for f in draft.proposed)
        draft.open.append(f"proposed: {topics} has {wide} numbers where the action has {acts}; left out")
        draft.proposed = []
    draft.control_hz = min(max(draft.control_hz, 0.001), _FASTEST)


def render(draft: Draft) -> str:
    """The draft as an embodiment file."""
    lines = ["# Drafted from a log by its topics and schemas. Go over it: names, units, limits, roles."]
    lines += [f"# - {_line(question)}" for question in draft.open]
    lines += [f"name: {_text(draft.name)}", f"control_hz: {draft.control_hz:g}", f"source: {draft.source}"]
    if draft.match:
        lines.append(f"match: {_mapping(draft.match)}")
    if draft.ticks or draft.clock != "log":
        ticks = f", ticks: {_text(draft.ticks)}" if draft.ticks else ""
        lines.append(f"time: {{clock: {draft.clock}{ticks}}}")
    for kind in ("state", "action", "proposed"):
        features: Sequence[DraftFeature] = getattr(draft, kind)
        if features:
            lines += ["", f"{kind}:"]
            for feature in features:
                lines += _feature(feature)
    if draft.cameras:
        lines += ["", "cameras:"]
        for name, topic, path in draft.cameras:
            entry = {"name": name, "topic": topic} | ({"field": path} if path != "data" else {})
            lines.append(f"  - {_mapping(entry)}")
    for section, entries in draft.sections.items():
        lines += ["", f"{section}: {_mapping(entries)}"]
    return "\n".join(lines) + "\n"


def _feature(feature: DraftFeature) -> list[str]:
    rate = f"  # {feature.hz:.4g} Hz" if feature.hz else ""
    lines = [f"  - topic: {_text(feature.topic)}{rate}"]
    if feature.field:
        lines.append(f"    field: {_text(feature.field)}")
    if feature.names_field:
        lines.append(f"    names_field: {_text(feature.names_field)}")
    if feature.staleness_ms is not None:
        lines.append(f"    staleness_ms: {feature.staleness_ms:g}")
    if feature.pairing is not None:
        lines.append(f"    pairing: {feature.pairing}")
    if feature.delay_ms is not None:
        lines.append(f"    delay_ms: {feature.delay_ms:g}")
    lines.append("    dims:")
    for dim in feature.dims:
        entry = {"name": dim.name, "unit": ""}
        if dim.key and dim.key != dim.name:
            entry["key"] = dim.key
        if dim.field:
            entry["field"] = dim.field
        seen = f"  # seen {dim.seen[0]:.4g} … {dim.seen[1]:.4g}" if dim.seen else ""
        lines.append(f"      - {_mapping(entry)}{seen}")
    return lines


def _mapping(entries: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in entries.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if value is None:
        return "null"
    return _text(value) if isinstance(value, str) else f"{value:g}"


def _text(value: str) -> str:
    """A YAML scalar: plain where that is safe, quoted otherwise."""
    if _PLAIN.fullmatch(value) and value.isprintable() and value.lower() not in _WORDS:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isprintable() else f"\\U{ord(letter):08X}"


def _line(text: str) -> str:
    """One line, whatever a log's own words hold."""
    return "".join(c if c.isprintable() else " " for c in text)
