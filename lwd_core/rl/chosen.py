"""A plug-in chosen by name in a configuration, with settings of its own.

    {"kind": "qam", "temperature": 0.05}    or the name alone, or settings alone for the default

What stands behind the names of such a `Door` is a frozen dataclass: its fields are the settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from pydantic import PlainValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from lwd_core.config_file import flat
from lwd_core.errors import did_you_mean
from lwd_core.plugins import Door, PluginError

T = TypeVar("T")


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """``made`` is the plug-in's dataclass, with its settings; ``kind`` the name it was found by."""

    kind: str
    made: T


def choose(door: Door[Any], kind: str, /, **settings: Any) -> Chosen[Any]:
    """The member of that name with these settings. ValueError names a wrong one."""
    return _choose(door, kind, settings, None)


def chosen_by(door: Door[Any], default: str | None, *, addresses: bool = True) -> PlainValidator:
    """How pydantic reads a field of a `Chosen`, for ``Annotated``; without a default it may be None.

    ``module:attribute`` is taken where ``addresses`` and the validation's context ("addresses") allow it.
    """

    def read(value: Any, info: Any) -> Chosen[Any] | None:
        if isinstance(value, Chosen) or (value is None and default is None):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            raise _fault("kind", "must be a name, or settings with the name as kind")
        settings = dict(value)
        context = {**(info.context or {})}
        context["addresses"] = addresses and context.get("addresses", True)
        kind = settings.pop("kind", default)
        if not isinstance(kind, str):
            raise _fault("kind", f"must be a name, one of {', '.join(door.names())}")
        return _choose(door, kind, settings, context)

    return PlainValidator(read)


#: Of a field added later: told only where it is set, so that what says nothing of it has the old digest.
LATER = {"later": True}


def plain(value: Any) -> Any:
    """A configuration's dataclasses as plain values; `chosen_by` takes them back.

    A field added `LATER` is left out at its default: what was described before it, a policy whose id names
    those bytes, is described by the same ones.
    """
    if isinstance(value, Chosen):
        return {"kind": value.kind, **plain(value.made)}
    if is_dataclass(value) and not isinstance(value, type):
        told = {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.init}
        unset = {f.name for f in fields(value) if f.metadata.get("later") and told[f.name] == f.default}
        return {name: setting for name, setting in told.items() if name not in unset}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(inner) for inner in value)
    return value


def unknown(kind: type, value: Mapping[str, Any], path: str = "") -> list[str]:
    """What a dataclass of that kind has no field for, by its path; a plug-in looks after its own."""
    hints = get_type_hints(kind)
    found = [f"{path}{name}: no such field{did_you_mean(name, hints)}" for name in value if name not in hints]
    for name, hint in hints.items():
        inner = value.get(name)
        for part in () if get_origin(hint) in (Chosen, Mapping) else (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type) and isinstance(inner, Mapping):
                found += unknown(part, inner, f"{path}{name}.")
    return found


def _choose(
    door: Door[Any], kind: str, settings: dict[str, Any], context: dict[str, Any] | None
) -> Chosen[Any]:
    try:
        member = door.get(kind, addresses=context is None or context["addresses"])
    except PluginError as error:
        raise _fault("kind", str(error)) from error
    if not (isinstance(member, type) and is_dataclass(member)):
        raise _fault("kind", f"{door.kind} {kind} is no dataclass, whose fields would be its settings")
    strange = [line.split(": ", 1) for line in unknown(member, settings)]
    if strange:
        raise _within([_said(path, text) for path, text in strange])
    try:
        return Chosen(kind, _adapter(member).validate_python(settings, context=context))
    except ValidationError as error:
        raise _within(list(flat(error))) from error


def _fault(path: str, text: str) -> PydanticCustomError:
    return _within([_said(path, text)])


def _said(path: str, text: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": tuple(path.split(".")), "msg": text, "ctx": {"error": text}}


def _within(faults: list[Any]) -> PydanticCustomError:
    """Faults in the settings themselves, for `config_file.flat`."""
    lines = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return PydanticCustomError("within", "{lines}", {"lines": lines, "within": faults})


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
