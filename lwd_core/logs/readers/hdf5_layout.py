"""How HDF5 sets lay out their episodes.

- *numbered*: a group an episode, ``data/demo_3`` (robomimic, Isaac Lab, LIBERO), ``episode_3`` (Minari),
  ``traj_3`` (ManiSkill);
- *single*: the file is one episode, ``action`` beside ``observations/…`` (ALOHA);
- *flat*: D4RL's arrays of many episodes one after the other.

Links and storage that lead out of the file are not followed.
"""

import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from lwd_core.logs import d4rl_ogbench
from lwd_core.logs.content import UnreadableLog

_NUMBERED = re.compile(r"(demo|episode|ep|traj|trajectory|rollout)_?(\d+)")
_ACTIONS = ("actions", "action")
_OBSERVED = re.compile(r"^(obs|observations?|states?|qpos)(/|$)")
_LINKS = 8  # soft links that may lead to one another


def layout(file: h5py.File) -> str:
    """``numbered``, ``flat`` or ``single``. Raises `UnreadableLog` for anything else."""
    if next(episodes(file), None) is not None:
        return "numbered"
    found = datasets(file)
    if d4rl_ogbench.is_flat(frozenset(found)):
        return "flat"
    if action_rows(found) is not None and any(_OBSERVED.match(name) for name in found):
        return "single"
    held = ", ".join(sorted(found)[:6]) or "no arrays"
    raise UnreadableLog(f"an HDF5 file of no known layout (robomimic, Minari, ALOHA, D4RL); it holds {held}")


def episodes(file: h5py.File) -> Iterator[tuple[str, h5py.Group]]:
    """Groups of one episode each, in order of their number."""
    for parent in (within(file, "data"), file):
        if not isinstance(parent, h5py.Group):
            continue
        matched = ((_NUMBERED.fullmatch(str(name)), str(name)) for name in parent)
        numbered = sorted((int(m[2]), name) for m, name in matched if m)
        for _, name in numbered:
            if isinstance(group := within(parent, name), h5py.Group):
                yield name, group
        if numbered:
            return


def within(group: h5py.Group, name: str, links: int = _LINKS) -> Any:
    """A member that lies in this very file, by whatever name, else None."""
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.SoftLink) and links:
        at: Any = group.file if link.path.startswith("/") else group
        for part in filter(None, link.path.split("/")):
            at = within(at, part, links - 1) if isinstance(at, h5py.Group) and part != ".." else None
        return at
    return group[name] if isinstance(link, h5py.HardLink) else None


def datasets(group: h5py.Group, prefix: str = "", depth: int = 5) -> dict[str, h5py.Dataset]:
    """Arrays of a group by path."""
    found: dict[str, h5py.Dataset] = {}
    for name in map(str, group):
        member = within(group, name)
        if isinstance(member, h5py.Group) and depth:
            found |= datasets(member, f"{prefix}{name}/", depth - 1)
        elif isinstance(member, h5py.Dataset) and not member.is_virtual and not member.external:
            found[f"{prefix}{name}"] = member
    return found


def action_rows(found: dict[str, h5py.Dataset]) -> int | None:
    """The number of actions, None where no array holds any. Actions may be a group of arrays."""
    names = [n for n in found if n in _ACTIONS] or [n for n in found if n.split("/")[0] in _ACTIONS]
    return next((int(found[n].shape[0]) for n in names if found[n].shape), None)


def is_image(dataset: h5py.Dataset) -> bool:
    """Whether rows are pictures: pixels, or encoded bytes in rows padded to one length."""
    if h5py.check_vlen_dtype(dataset.dtype) == np.uint8 or dataset.dtype.kind in "OV":
        return bool(re.search("image|rgb|cam", str(dataset.name)))
    if dataset.dtype != np.uint8:
        return False
    if dataset.ndim == 4:
        return dataset.shape[-1] in (1, 3) or dataset.shape[1] == 3
    return dataset.ndim == 2 and len(dataset) > 0 and dataset[0, :2].tobytes() in (b"\xff\xd8", b"\x89P")
