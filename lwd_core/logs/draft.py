"""A drafted embodiment file: what was guessed, as YAML a person can go over."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lwd_core.logs.naming import clean as clean
from lwd_core.logs.naming import unique as unique

_PLAIN = re.compile(r"^[A-Za-z_/][\w./-]*$")
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
    """A vector; ``hz`` is the rate of its topic in the log, 0 where it has none."""

    topic: str
    dims: tuple[DraftDim, ...]
    field: str = ""
    names_field: str | None = None
    hz: float = 0.0


@dataclass
class Draft:
    """Everything guessed. ``open`` are questions only a person can answer."""

    name: str
    control_hz: float
    ticks: str | None = None
    match: dict[str, str] = field(default_factory=dict)
    state: list[DraftFeature] = field(default_factory=list)
    action: list[DraftFeature] = field(default_factory=list)
    proposed: list[DraftFeature] = field(default_factory=list)
    cameras: list[tuple[str, str, str]] = field(default_factory=list)
    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    source: str = "rollout"
    open: list[str] = field(default_factory=list)


def render(draft: Draft) -> str:
    """The draft as an embodiment file."""
    lines = ["# Drafted from a log by its topics and schemas. Go over it: names, units, limits, roles."]
    lines += [f"# - {question}" for question in draft.open]
    lines += [f"name: {_text(draft.name)}", f"control_hz: {draft.control_hz:g}", f"source: {draft.source}"]
    if draft.match:
        lines.append(f"match: {_mapping(draft.match)}")
    if draft.ticks:
        lines.append(f"time: {{clock: log, ticks: {_text(draft.ticks)}}}")
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


def _mapping(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in entries.items()) + "}"


def _text(value: str) -> str:
    """A YAML scalar: plain where that is safe, quoted otherwise."""
    if _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)  # a JSON string is a YAML one
