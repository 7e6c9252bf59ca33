"""Files that people write: YAML, or JSON, which is a part of it; what is wrong is said in the same words."""

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lwd_core.errors import UserError, did_you_mean

T = TypeVar("T")
_SHOWN = 60


def read(path: str | Path, what: str) -> Mapping[str, Any]:
    """The fields of a file or URL; they remember their lines for `check`.

    Raises `UserError` naming file and line; ``what`` says what such a file is, "an embodiment file, …".
    """
    import fsspec

    try:
        with fsspec.open(str(path), "rt", encoding="utf-8") as file:
            text: str = file.read()  # type: ignore[union-attr]
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or e
        raise UserError(f"{path}: cannot be read ({why}); give the path of {what}") from e
    return parse(text, str(path), what)


def parse(text: str, name: str, what: str) -> Mapping[str, Any]:
    """The fields of a text; ``name`` stands for it in errors."""
    from ruamel.yaml import YAML  # settings ask this module too, and read no YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        fields = _json(text) or YAML(typ="rt").load(text)
    except MarkedYAMLError as e:
        line = f":{e.problem_mark.line + 1}" if e.problem_mark else ""
        raise UserError(f"{name}{line}: not YAML ({e.problem})") from e
    except Exception as e:  # the parser meets odd keys and depths with errors of its own choosing
        said = " ".join(str(e).split()) if isinstance(e, YAMLError | ValueError) else type(e).__name__
        raise UserError(f"{name}: not YAML ({said})") from e
    if not isinstance(fields, Mapping):
        raise UserError(f"{name}:1: must be a mapping, `field: value` a line; give {what}")
    return fields


def check(
    kind: TypeAdapter[T],
    fields: Mapping[str, Any],
    where: str,
    written: object = None,
    context: Mapping[str, Any] | None = None,
) -> T:
    """The value that plain fields describe; ``context`` is for its validators.

    Raises `UserError` naming ``where`` and for each fault its field, what is wrong and the remedy. Lines are
    those of ``written`` (default: ``fields``), if it was read from a file.
    """
    try:
        return kind.validate_python(_plain(fields), context=context)
    except ValidationError as e:
        raise UserError(faults(e, where, fields if written is None else written, kind)) from e


def faults(
    error: ValidationError, where: str, written: object = None, kind: TypeAdapter[Any] | None = None
) -> str:
    """What pydantic found, a fault after the other: ``file:line: field: what is wrong; remedy``."""
    known = sorted(set(_fields_of(kind.json_schema()))) if kind else []
    return "; ".join(_fault(fault, where, written, known) for fault in flat(error))


def flat(error: ValidationError) -> Iterator[Any]:
    """pydantic's faults, those within a plug-in's own settings as they are there, by the whole path."""
    for fault in error.errors():
        for inner in fault.get("ctx", {}).get("within", [None]):
            yield {**inner, "loc": (*fault["loc"], *inner["loc"])} if inner else fault


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Fields laid over others, section by section; a section of another ``kind`` takes the place of one."""
    merged = dict(below)
    for name, value in above.items():
        inner = merged.get(name)
        if isinstance(inner, Mapping) and isinstance(value, Mapping) and not _differ(inner, value):
            value = over(inner, value)
        merged[name] = value
    return merged


def _differ(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "kind" in below and "kind" in above and below["kind"] != above["kind"]


def _plain(value: Any) -> Any:
    """Values without the parser's own types; a date is its text, as it was written."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, bool) or value is None:
        return value
    for base in (int, float):
        if isinstance(value, base):
            return base(value)
    return value


def _json(text: str) -> Any:
    """JSON may be indented by tabs, which YAML refuses. None where the text is no JSON."""
    try:
        return json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return None


def _fault(fault: Any, where: str, written: object, known: list[str]) -> str:
    place: tuple[Any, ...] = tuple(fault["loc"])
    kind, message = fault["type"], fault["msg"]
    if kind == "missing":
        message = "is missing; add it"
    elif kind in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"no such field{did_you_mean(str(place[-1]), known) or '; remove it'}"
    elif kind == "value_error":
        message = str(fault["ctx"]["error"])
    else:
        shown = repr(fault["input"])
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        message = f"{message[0].lower()}{message[1:]}, not {shown}"
    line = _line(written, place)
    field = f"{_path(place)}: " if place else ""
    return f"{where}{line}: {field}{message}"


def _path(place: tuple[Any, ...]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _line(node: Any, place: tuple[Any, ...]) -> str:
    """Line (from 1) of the deepest part of ``place`` that is in the file; empty for what is no file's."""
    if not hasattr(node, "lc"):
        return ""
    line = 1
    for part in place:
        try:
            line = node.lc.data[part][0] + 1
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return f":{line}"


def _fields_of(schema: Any) -> Iterator[str]:
    """Every field's name in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from _fields_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _fields_of(part)
