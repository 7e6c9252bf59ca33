"""What HDF5 sets say in attributes: robot, environment, rate, task, how each episode went."""

import json
import re
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

from lwd_core.logs.tabular_facts import SUCCESS_FACTS, verdict

_TOLD = ("language_instruction", "instruction", "lang", "language", "task_description")
_VERDICTS = (*SUCCESS_FACTS, "outcome", "result")
_KEPT = 200  # characters of an attribute that are kept


def of_file(file: h5py.File) -> dict[str, str]:
    """Facts of the whole file: ``robot_type``, ``env_name``, ``fps``, ``instruction``, where stated."""
    facts: dict[str, str] = {}
    for node in (file, file["data"] if isinstance(file.get("data", getlink=True), h5py.HardLink) else file):
        attributes = _attributes(node)
        for name in ("env_args", "problem_info", "env_spec"):
            facts |= _environment(_object(attributes.get(name)))
        for name in _TOLD:
            if attributes.get(name):
                facts["instruction"] = _text(attributes[name])
        if attributes.get("bddl_file_name"):
            facts["bddl"] = _text(attributes["bddl_file_name"]).rsplit("/", 1)[-1]
            words = re.sub(r"^[A-Z0-9_]+_(?=[a-z])", "", facts["bddl"].removesuffix(".bddl"))
            facts.setdefault("instruction", words.replace("_", " "))
        for name in ("fps", "control_freq", "frequency"):
            if name in attributes:
                facts["fps"] = _text(attributes[name])
        for name in ("robot_type", "dataset_id"):
            if attributes.get(name):
                facts[name] = _text(attributes[name])
    with suppress(ValueError):
        if "fps" in facts and 0 < float(facts["fps"]) < 1e5:
            return facts
    facts.pop("fps", None)
    return facts


def of_episode(group: h5py.Group) -> dict[str, str]:
    """What is said of one episode: ``outcome``, ``instruction``, and every plain attribute else."""
    attributes = _attributes(group)
    for name in _VERDICTS:  # as an array of one value, too
        member = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(member, h5py.Dataset) and member.size == 1:
            attributes.setdefault(name, member[()])
    said: dict[str, str] = {}
    for name, value in attributes.items():
        if name in _VERDICTS and (found := verdict(value)):
            said["outcome"] = found
        elif name in _TOLD:
            said["instruction"] = _text(value)
        elif name == "ep_meta" and (told := _object(value).get("lang")):
            said["instruction"] = _text(told)
        elif np.ndim(value) == 0 and len(_text(value)) <= _KEPT:
            said[name if name not in _TAKEN else f"{name}_said"] = _text(value)
    return said


def judged(group: h5py.Group) -> bool:
    """Whether an episode says how it went."""
    return any(name in group.attrs or name in group for name in _VERDICTS)


# names that mean something of their own among what is said of an episode
_TAKEN = frozenset(
    {"outcome", "outcome_from", "end", "source", "site", "robot_id", "policy_id", "operator", "task"}
)


def _environment(said: dict[str, Any]) -> dict[str, str]:
    facts: dict[str, str] = {}
    if name := said.get("env_name") or said.get("id"):
        facts["env_name"] = str(name)
    if told := said.get("language_instruction"):
        facts["instruction"] = _text(told)
    options, times = (v if isinstance(v := said.get(k), dict) else {} for k in ("env_kwargs", "sim_args"))
    if robots := options.get("robots"):
        facts["robot_type"] = str(robots if isinstance(robots, str) else robots[0])
    with suppress(TypeError, ValueError, ZeroDivisionError):
        if "control_freq" in options:
            facts["fps"] = f"{float(options['control_freq']):g}"
        elif "dt" in times:
            facts["fps"] = f"{1 / (float(times['dt']) * float(times.get('decimation', 1))):g}"
    return facts


def _attributes(node: Any) -> dict[str, Any]:
    """Attributes that can be read; one that cannot is a help lost, nothing more."""
    found: dict[str, Any] = {}
    for name in map(str, node.attrs):
        with suppress(Exception):
            found[name] = node.attrs[name]
    return found


def _object(value: Any) -> dict[str, Any]:
    with suppress(ValueError, TypeError, RecursionError):
        loaded = json.loads(_text(value))
        return loaded if isinstance(loaded, dict) else {}
    return {}


def _text(value: Any) -> str:
    if isinstance(value, bytes | np.bytes_):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):  # LIBERO's text as a list of its letters
        return "".join(map(str, value))
    if isinstance(value, np.ndarray):
        return _text(value.item()) if value.size == 1 else "".join(map(_text, value.ravel().tolist()))
    return str(value)
