"""Settings under names that were once theirs, as checkpoints, policies and people's files hold them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from lwd_core.rl.extraction import EXTRACTIONS

_EXTRACTIONS = ("qam", "fql", "best_of_n")
_REFERENCE = {"reference": "mode", "reference_ema": "ema", "reference_data": "data"}
_OPTIM = ("rate", "weight_decay", "warmup", "floor", "clip")


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A training configuration, whole or in part, under the names of today; what has them stays as it is.

    Each extraction had a section of its own, beside ``extraction`` for its name; what is the reference's
    stood in ``qam`` and in ``learner``; ``compile`` chose kernels that are no more.
    """
    value = {name: setting for name, setting in config.items() if name != "compile"}
    learner = _section(value.get("learner"))
    if learner is not None and learner.get("kind", "lwd") == "lwd":
        value["learner"] = _learner(learner)
    return value


def _learner(learner: Mapping[str, Any]) -> dict[str, Any]:
    value = dict(learner)
    sections = {name: found for name in _EXTRACTIONS if (found := _section(value.get(name))) is not None}
    value = {name: setting for name, setting in value.items() if name not in sections}
    reference = _reference(value.pop("reference", None))
    qam = sections.get("qam", {})
    reference |= {new: qam.pop(old) for old, new in _REFERENCE.items() if old in qam}
    if "steps" in qam:
        reference["steps"] = qam["steps"]
    if "reference_first" in value:
        reference["first"] = value.pop("reference_first")
    if "warm" in value:
        reference["warm"] = value.pop("warm")
    extraction = value.pop("extraction", {})
    if isinstance(extraction, str):
        extraction = {"kind": extraction}
    chosen = _section(extraction)
    if chosen is not None:
        extraction = {**chosen, **sections.pop(chosen.get("kind", "qam"), {})}
    if extraction:
        value["extraction"] = extraction
    for name, section in sections.items():
        value |= _strange(name, section)
    if reference:
        value["reference"] = reference
    return value


def _strange(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """What no extraction of that name has, by its path: the section is not read, yet a slip in it is told."""
    known = {field.name for field in fields(cast(Any, EXTRACTIONS.get(name)))}
    return {f"{name}.{setting}": value for setting, value in section.items() if setting not in known}


def _reference(section: Any) -> dict[str, Any]:
    """It once held the settings of its optimiser."""
    given = _section(section)
    if given is None:
        return {} if section is None else {"mode": section}
    value = {name: setting for name, setting in given.items() if name not in _OPTIM}
    optim = {name: given[name] for name in _OPTIM if name in given}
    return {**value, "optim": {**value.get("optim", {}), **optim}} if optim else value


def _section(value: Any) -> dict[str, Any] | None:
    """Settings, as a copy; None of what is none."""
    return dict(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else None
