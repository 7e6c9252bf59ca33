"""Trainer state on disk: whole or absent, verified when read, nothing pickled.

<checkpoints>/<run>/step-<N>/state.safetensors   every tensor, named by its path in the state
                             checkpoint.json     everything else; written last; its digest names the state
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.relative import relative, resolve
from storage_schemas.canonical import canonical_json

STATE, MANIFEST = "state.safetensors", "checkpoint.json"
FORMAT = 1
_STEP = re.compile(r"step-(\d+)$")


@dataclass(frozen=True)
class Checkpoint:
    """``about`` says what run it belongs to; ``state`` is what the trainer goes on from."""

    uri: str
    digest: str
    about: dict[str, Any]
    state: dict[str, Any]


def write_checkpoint(
    run: Location, step: int, about: Mapping[str, Any], state: Mapping[str, Any]
) -> Checkpoint:
    """Write ``<run>/step-<step>``; it exists once its manifest stands."""
    tensors: dict[str, Tensor] = {}
    plain = _take_tensors(state, "", tensors)
    data = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    manifest = canonical_json(
        {
            "format": FORMAT,
            "about": dict(about),
            "state": plain,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    )
    folder = f"step-{step}"
    for name, content in ((STATE, data), (MANIFEST, manifest)):
        with run.write(folder, name) as file:
            file.write(content)
    return Checkpoint(run.path(folder), hashlib.sha256(manifest).hexdigest(), dict(about), dict(state))


def read_checkpoint(place: Location) -> Checkpoint:
    """Read a ``step-<N>`` folder. UserError if it is incomplete, damaged or of another format."""
    uri = place.root
    try:
        manifest, data = place.read(MANIFEST), place.read(STATE)
    except FileNotFoundError:
        raise UserError(f"{uri}: no checkpoint; name a run or a step-<N> folder") from None
    value = json.loads(manifest)
    if value.get("format") != FORMAT:
        raise UserError(f"{uri}: checkpoint format {value.get('format')}, this version reads {FORMAT}")
    if hashlib.sha256(data).hexdigest() != value["sha256"]:
        raise UserError(f"{uri}/{STATE}: the bytes do not match the manifest; remove the folder")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise UserError(f"{uri}/{STATE}: {error}") from error
    state = _put_tensors(value["state"], tensors)
    return Checkpoint(uri, hashlib.sha256(manifest).hexdigest(), value["about"], state)


def steps(run: Location) -> list[int]:
    """Steps of a run that have a whole checkpoint, rising."""
    if not run.exists():
        return []
    names = [name.rstrip("/") for name in run.fs.ls(run.path(), detail=False)]
    found = [int(match[1]) for name in names if (match := _STEP.search(name))]
    return sorted(step for step in found if run.exists(f"step-{step}", MANIFEST))


def newest_checkpoint(checkpoints: str, run: str) -> Checkpoint | None:
    """The newest whole checkpoint of a run; None without one. UserError if it is damaged."""
    place = open_location(f"{checkpoints}/{run}")
    found = steps(place)
    return read_checkpoint(open_location(place.path(f"step-{found[-1]}"))) if found else None


def find_checkpoint(checkpoints: str, init: str) -> Checkpoint:
    """A checkpoint by run name (its newest) or by address, in full or below ``checkpoints``.

    UserError if there is none.
    """
    if "/" in init:
        inside = (
            relative(init) and ".." not in init and open_location(resolve(checkpoints, init)).exists(MANIFEST)
        )
        return read_checkpoint(open_location(resolve(checkpoints, init) if inside else init))
    newest = newest_checkpoint(checkpoints, init)
    if newest is None:
        near = like(checkpoints, init)
        meant = f", did you mean {near}?" if near else "; train it first"
        raise UserError(f"run {init!r}: no checkpoint in {checkpoints}{meant}")
    return newest


def like(checkpoints: str, run: str) -> str | None:
    """The run with a checkpoint whose name is nearest to this one; None if none is like it."""
    place = open_location(checkpoints)
    names = (
        [name.rstrip("/").rpartition("/")[2] for name in place.fs.ls(place.root, detail=False)]
        if place.exists()
        else []
    )
    near = (name for name in get_close_matches(run, names) if steps(open_location(place.path(name))))
    return next(near, None)


def prune(run: Location, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, manifest first."""
    for step in steps(run)[:-keep]:
        run.remove(f"step-{step}", MANIFEST)
        run.fs.rm(run.path(f"step-{step}"), recursive=True)


def _take_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON, with its tensors moved out: a dict as pairs, so that keys keep their type."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, Mapping):
        pairs = cast(Mapping[Any, Any], value).items()
        return {"items": [[k, _take_tensors(v, f"{path}/{k}", tensors)] for k, v in pairs]}
    if isinstance(value, list | tuple):
        listed = cast(Sequence[Any], value)
        return {"list": [_take_tensors(v, f"{path}/{i}", tensors) for i, v in enumerate(listed)]}
    return value


def _put_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    told = cast(dict[str, Any], value)
    if "tensor" in told:
        return tensors[told["tensor"]]
    if "list" in told:
        return [_put_tensors(v, tensors) for v in told["list"]]
    return {k: _put_tensors(v, tensors) for k, v in told["items"]}
