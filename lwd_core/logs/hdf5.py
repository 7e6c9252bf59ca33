"""HDF5 data sets: robomimic's ``data/demo_N`` groups, and D4RL's flat arrays.

Links and storage that lead out of the file are not followed.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import h5py
import numpy as np
import simplejpeg

from lwd_core.logs import arrays
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.rows import Rows, content_of_rows
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from lwd_core.logs.video import QUALITY
from storage_schemas.embodiment import Embodiment

_MAGIC = b"\x89HDF\r\n\x1a\n"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, AttributeError)


class Hdf5Reader:
    """Reads HDF5 data sets."""

    format = "hdf5"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def survey(self, source: LogSource) -> Survey:
        """Arrays of the first demonstration, or the flat ones."""
        with source.on_disk() as path:
            try:
                with h5py.File(path, "r") as file:
                    first = next(iter(_demos(file)), None)
                    found = _datasets(first[1] if first else file)
                    topics = {k: _topic(d) for k, d in found.items() if not k.startswith("next_obs/")}
                    return Survey(topics, _facts(file) if first else {"layout": "d4rl"})
            except _DAMAGE as e:
                raise UnreadableLog(f"the HDF5 file is damaged ({e})") from e

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The set's episodes. Raises `UnreadableLog`."""
        damage: list[str] = []
        notes: list[str] = []
        with source.on_disk() as path:
            try:
                with h5py.File(path, "r") as file:
                    sets = _episodes(file, embodiment, damage, notes)
                    return content_of_rows(sets, embodiment, frames, self.format, damage, notes)
            except _DAMAGE as e:
                raise UnreadableLog(f"the HDF5 file is damaged ({e})") from e


def _demos(file: h5py.File) -> Iterator[tuple[int, h5py.Group]]:
    """Demonstrations in order of their number."""
    data = _within(file, "data")
    if not isinstance(data, h5py.Group):
        return
    numbered = ((re.fullmatch(r"demo_(\d+)", str(name)), str(name)) for name in data)
    for number, name in sorted((int(m[1]), name) for m, name in numbered if m):
        group = _within(data, name)
        if isinstance(group, h5py.Group):
            yield number, group


def _within(group: h5py.Group, name: str) -> Any:
    """A member that lies in this very file, else None."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    return group[name]


def _datasets(group: h5py.Group, prefix: str = "", depth: int = 4) -> dict[str, h5py.Dataset]:
    """Arrays of a group by path."""
    found: dict[str, h5py.Dataset] = {}
    for name in map(str, group):
        member = _within(group, name)
        if isinstance(member, h5py.Group) and depth:
            found |= _datasets(member, f"{prefix}{name}/", depth - 1)
        elif isinstance(member, h5py.Dataset) and not member.is_virtual and not member.external:
            found[f"{prefix}{name}"] = member
    return found


def _topic(dataset: h5py.Dataset) -> Topic:
    image = _is_image(dataset)
    width = int(np.prod(dataset.shape[1:], dtype=np.int64)) if dataset.shape else 1
    rows = int(dataset.shape[0]) if dataset.shape else 1
    return Topic("image" if image else str(dataset.dtype), "hdf5", rows, None if image else width)


def _is_image(dataset: h5py.Dataset) -> bool:
    return dataset.ndim == 4 and dataset.dtype == np.uint8 and dataset.shape[-1] == 3


def _facts(file: h5py.File) -> dict[str, str]:
    """Robot and environment as robomimic states them."""
    facts = {"layout": "robomimic"}
    try:
        args = json.loads(file["data"].attrs.get("env_args", "{}"))
        if name := args.get("env_name"):
            facts["env_name"] = str(name)
        robots = args.get("env_kwargs", {}).get("robots")
        if robots:
            facts["robot_type"] = str(robots if isinstance(robots, str) else robots[0])
    except _DAMAGE:
        pass  # facts are a help for matching, nothing rests on them
    return facts


def _episodes(file: h5py.File, embodiment: Embodiment, damage: list[str], notes: list[str]) -> Iterator[Rows]:
    facts = _facts(file) if "data" in file else {}
    demos = list(_demos(file))
    if not demos:
        found = _datasets(file)
        if not arrays.is_flat(frozenset(found)):
            raise UnreadableLog("an HDF5 file neither in robomimic's nor in D4RL's layout")
        yield from arrays.split({k: d[()] for k, d in found.items() if d.shape}, embodiment, notes)
        return
    first = 0
    for number, group in demos:
        try:
            rows = _demo(number, group, facts, embodiment, first)
        except _DAMAGE as e:
            damage.append(f"demo_{number} cannot be read ({str(e)[:120]})")
            continue
        first += len(rows)
        yield rows


def _demo(number: int, group: h5py.Group, facts: dict[str, str], embodiment: Embodiment, first: int) -> Rows:
    found = _datasets(group)
    wanted = {f.topic for f in (*embodiment.state, *embodiment.action, *embodiment.proposed)}
    cameras = {c.topic for c in embodiment.cameras}
    n = next((int(found[f.topic].shape[0]) for f in embodiment.action if f.topic in found), None)
    if n is None:
        n = next(int(found[f.topic].shape[0]) for f in embodiment.state if f.topic in found)
    columns, frames, final = {}, {}, {}
    for name, dataset in found.items():
        if not dataset.shape or int(dataset.shape[0]) != n:
            if name in wanted:
                raise ValueError(f"{name}: {dataset.shape} where {n} rows are")
            continue
        if name in cameras and _is_image(dataset):
            frames[name] = partial(_encoded, dataset)
        elif name.startswith("next_obs/") and n and name.removeprefix("next_") in wanted:
            final[name.removeprefix("next_")] = np.asarray(dataset[n - 1])
        elif dataset.dtype.kind in "bifuS" and (dataset.ndim == 1 or name in wanted):
            columns[name] = np.asarray(dataset[()])
    t = np.rint(np.arange(n) * (1e9 / embodiment.control_hz)).astype(np.int64)
    said = {"demo": str(number), **{k: v for k, v in facts.items() if k == "env_name"}}
    if "env_name" in facts:
        said["instruction"] = embodiment.task.instruction or facts["env_name"]
    return Rows(columns, t, first, final, frames, said)


def _encoded(dataset: h5py.Dataset) -> Iterator[bytes | None]:
    for image in dataset:
        yield simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=QUALITY)
