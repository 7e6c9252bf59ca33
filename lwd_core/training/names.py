"""Which configuration a run's name stands for, where several were trained under it.

    <checkpoints>/<run>/             the one asked for last
    <checkpoints>/<run>-<digest>/    another one's, set aside; a run of this name for whoever reads it

Checkpoints of another configuration are moved, never removed. Of two attempts at the same one the further
stays.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lwd_core.errors import UserError
from lwd_core.storage.location import Location, open_location
from lwd_core.training.checkpoint import MANIFEST, steps
from lwd_core.training.config import TrainConfig
from storage_schemas.canonical import digest

_HEAD = 8


def identity(config: Mapping[str, Any], init: str | None) -> str:
    """Digest of a configuration and of the checkpoint it starts from, wherever that one lies."""
    start = config["init"]
    if start and "/" in start:
        start = "/".join(start.rstrip("/").split("/")[-2:])
    return digest({"config": {**config, "init": start}, "init": init})


def holds(checkpoints: str, run: str, wanted: str) -> bool:
    """Whether a run's name stands for this configuration now."""
    about = _newest(open_location(checkpoints), run)
    return about is not None and _identity(about) == wanted


def aside(run: str, wanted: str) -> str:
    """The name under which a configuration is kept while another one has the run's."""
    return f"{run}-{wanted[:_HEAD]}"


def take(checkpoints: str, run: str, wanted: str) -> None:
    """Let a run's name stand for this configuration: another one's is set aside, its own comes back.

    Killed in the middle and called again, it goes on. Raises UserError where a run of another making has the
    name under which something would be kept.
    """
    place = open_location(checkpoints)
    here = _newest(place, run)
    if here is not None and _identity(here) != wanted:
        _move(place, run, aside(run, _identity(here)))
        here = None
    kept = _newest(place, aside(run, wanted))
    if kept is not None and _identity(kept) == wanted and (here is None or here["update"] < kept["update"]):
        _move(place, aside(run, wanted), run)


def _move(place: Location, source: str, target: str) -> None:
    """Give a run another name, unless the same configuration is there already and further."""
    ours, theirs = _newest(place, source), _newest(place, target)
    assert ours is not None
    if theirs is not None and _identity(theirs) != _identity(ours):
        raise UserError(
            f"run {source}: can't be set aside, {place.path(target)} holds another run; rename that folder"
        )
    if theirs is None or theirs["update"] < ours["update"]:
        _remove(place, target)
        _rename(place, source, target)
    else:
        _remove(place, source)


def _rename(place: Location, source: str, target: str) -> None:
    """In a bucket a copy: manifests go last and leave first, so that what is whole is whole throughout."""
    if not place.remote:
        os.rename(place.path(source), place.path(target))
        return
    files = sorted(_files(place, source), key=lambda name: (name.endswith(MANIFEST), name))
    for name in files:
        place.fs.cp_file(place.path(source, name), place.path(target, name))
    _remove(place, source)


def _remove(place: Location, run: str) -> None:
    for name in sorted(_files(place, run), key=lambda name: (not name.endswith(MANIFEST), name)):
        place.remove(run, name)
    if not place.remote and place.exists(run):
        place.fs.rm(place.path(run), recursive=True)


def _files(place: Location, run: str) -> list[str]:
    if not place.exists(run):
        return []
    return [place.relative(name).removeprefix(f"{run}/") for name in place.fs.find(place.path(run))]


def _newest(place: Location, run: str) -> dict[str, Any] | None:
    """What the newest whole checkpoint of a run says of itself; its tensors are not read."""
    found = steps(open_location(place.path(run)))
    return json.loads(place.read(run, f"step-{found[-1]}", MANIFEST))["about"] if found else None


def _identity(about: Mapping[str, Any]) -> str:
    """Of a checkpoint, its configuration told as one of today would be."""
    config = about["config"]
    with suppress(UserError):  # of a plug-in that is gone, or named by its address: it stands as it was told
        config = TrainConfig.parse(config, addresses=False).to_dict()
    return identity(config, about["init"])
