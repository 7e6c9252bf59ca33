"""Settings laid over others."""

from collections.abc import Mapping
from typing import Any


def over_config(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Fields laid over others, section by section; a section of another ``kind`` takes the place of one."""
    merged = dict(below)
    for name, value in above.items():
        inner = merged.get(name)
        if isinstance(inner, Mapping) and isinstance(value, Mapping) and not _differ(inner, value):
            value = over_config(inner, value)
        merged[name] = value
    return merged


def _differ(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "kind" in below and "kind" in above and below["kind"] != above["kind"]
