"""HDF5 data sets of robomimic, Isaac Lab, LIBERO, Minari, ManiSkill, ALOHA and D4RL."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

import h5py
import numpy as np
import simplejpeg

from lwd_core.logs import arrays
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.notes import Notes
from lwd_core.logs.readers import hdf5_facts, hdf5_layout
from lwd_core.logs.readers.hdf5_layout import is_image
from lwd_core.logs.row_facts import FLAGS
from lwd_core.logs.rows import EpisodeRows, content_of_rows
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from lwd_core.logs.video import QUALITY
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import Outcome

_MAGIC = b"\x89HDF\r\n\x1a\n"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, AttributeError)
_NEXT = "next_obs/"
_PEEKED = 100_000  # rows of an array that a draft looks at
_WIDEST = 1024  # a row wider than this is looked at only where an embodiment maps it


class Hdf5Reader:
    """Reads HDF5 data sets."""

    format = "hdf5"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def survey(self, source: LogSource) -> Survey:
        """Arrays of the first episode, or the flat ones."""
        with source.on_disk() as path:
            try:
                with h5py.File(path, "r") as file:
                    kind = hdf5_layout.layout(file)
                    found = hdf5_layout.datasets(_first(file, kind))
                    topics = {k: _topic(d) for k, d in found.items() if not k.startswith(_NEXT)}
                    facts = hdf5_facts.of_file(file)
                    facts.pop("instruction", None)
                    if _judged(file):
                        facts["outcome"] = "told"  # by each episode's attributes
                    layout = "aloha" if kind == "single" and "observations/qpos" in found else kind
                    return Survey(topics, {**facts, "layout": layout})
            except _DAMAGE as e:
                raise UnreadableLog(f"the HDF5 file is damaged ({e})") from e

    def peek(self, source: LogSource, episodes: int) -> list[dict[str, np.ndarray]]:
        """Number columns of the first episodes."""
        with source.on_disk() as path:
            try:
                with h5py.File(path, "r") as file:
                    return [_numbers(found) for found in islice(_groups(file), episodes)]
            except _DAMAGE as e:
                raise UnreadableLog(f"the HDF5 file is damaged ({e})") from e

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The set's episodes. Raises `UnreadableLog`."""
        damage, notes = Notes(), Notes()
        with source.on_disk() as path:
            try:
                with h5py.File(path, "r") as file:
                    sets = _episodes(file, source.name, embodiment, damage, notes)
                    return content_of_rows(sets, embodiment, frames, self.format, damage, notes)
            except _DAMAGE as e:
                raise UnreadableLog(f"the HDF5 file is damaged ({e})") from e


def _first(file: h5py.File, kind: str) -> h5py.Group:
    return next(hdf5_layout.episodes(file))[1] if kind == "numbered" else file


def _judged(file: h5py.File) -> bool:
    """Whether any episode says how it went."""
    if hdf5_layout.layout(file) == "numbered":
        return any(hdf5_facts.judged(group) for _, group in hdf5_layout.episodes(file))
    return hdf5_facts.judged(file)


def _groups(file: h5py.File) -> Iterator[dict[str, h5py.Dataset]]:
    if hdf5_layout.layout(file) == "numbered":
        for _, group in hdf5_layout.episodes(file):
            yield hdf5_layout.datasets(group)
    else:
        yield hdf5_layout.datasets(file)


def _numbers(found: dict[str, h5py.Dataset]) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(dataset[:_PEEKED])
        for name, dataset in found.items()
        if dataset.shape
        and dataset.dtype.kind in "bifu"
        and not is_image(dataset)
        and _width(dataset) <= _WIDEST
    }


def _topic(dataset: h5py.Dataset) -> Topic:
    image = is_image(dataset)
    rows = int(dataset.shape[0]) if dataset.shape else 1
    return Topic("image" if image else str(dataset.dtype), "hdf5", rows, None if image else _width(dataset))


def _width(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.shape[1:], dtype=np.int64)) if dataset.shape else 1


def _episodes(
    file: h5py.File, log: str, embodiment: Embodiment, damage: Notes, notes: Notes
) -> Iterator[EpisodeRows]:
    kind = hdf5_layout.layout(file)
    if kind == "flat":
        found = hdf5_layout.datasets(file)
        yield from arrays.split({k: d[()] for k, d in found.items() if d.shape}, embodiment, notes)
        return
    facts = hdf5_facts.of_file(file)
    facts.pop("fps", None)
    facts.pop("robot_type", None)
    if "env_name" in facts:
        facts.setdefault("instruction", embodiment.task.instruction or facts["env_name"])
    if kind == "numbered" and _judged(file):
        facts["outcome"] = str(Outcome.UNKNOWN)  # where episodes say how they went, one that doesn't is open
    named = hdf5_layout.episodes(file) if kind == "numbered" else iter([(log.rsplit(".", 1)[0], file)])
    first = 0
    for name, group in named:
        try:
            said = {"demo": name.rpartition("_")[2], **facts, **hdf5_facts.of_episode(group)}
            rows = _episode(name, group, said, embodiment, first, notes)
        except _DAMAGE as e:
            damage.add(f"cannot be read ({str(e)[:120]})", name)
            continue
        first += len(rows)
        yield rows


def _episode(
    name: str, group: h5py.Group, said: dict[str, str], embodiment: Embodiment, first: int, notes: Notes
) -> EpisodeRows:
    """An episode of T actions. Arrays of T + 1 rows hold one state more, the last."""
    found = hdf5_layout.datasets(group)
    wanted = {f.topic for f in (*embodiment.state, *embodiment.action, *embodiment.proposed)}
    wanted |= {t for t in (embodiment.actor.topic, embodiment.outcome.topic) if t}
    cameras = {c.topic for c in embodiment.cameras}
    n = next((int(found[f.topic].shape[0]) for f in embodiment.action if f.topic in found), None)
    if n is None:
        n = min(int(found[t].shape[0]) for t in wanted if t in found and found[t].shape)
    columns, frames, final = {}, {}, {}
    for topic, dataset in found.items():
        rows = int(dataset.shape[0]) if dataset.shape else -1
        if topic in cameras and is_image(dataset):
            frames[topic] = partial(_encoded, dataset, name, notes)
        elif rows not in (n, n + 1):
            if topic in wanted:
                raise ValueError(f"{topic} is {dataset.shape} where {n} actions are")
        elif topic.startswith(_NEXT) and n and topic.removeprefix("next_") in wanted:
            final[topic.removeprefix("next_")] = np.asarray(dataset[n - 1])
        elif dataset.dtype.kind in "bifuS" and (dataset.ndim == 1 or topic in wanted):
            values = np.asarray(dataset[()])
            # what is said of the state after each action is a row later where states are one more
            columns[topic] = values[rows - n :] if topic in FLAGS else values[:n]
            if rows == n + 1:
                final[topic] = values[n]
    told = said.get("num_samples")
    if told and told.isdecimal() and int(told) != n:
        notes.add(f"{n} actions, num_samples says {told}", name)
    t = np.rint(np.arange(n) * (1e9 / embodiment.control_hz)).astype(np.int64)
    return EpisodeRows(columns, t, first, final, frames, said, name)


def _encoded(dataset: h5py.Dataset, name: str, notes: Notes) -> Iterator[bytes | None]:
    """Each row's picture: encoded bytes without their padding, pixels as JPEG; None where it has none."""
    for at in range(len(dataset)):
        try:
            yield _picture(dataset[at])
        except _DAMAGE as e:
            notes.add(
                f"a picture of {str(dataset.name).rsplit('/', 1)[-1]} cannot be read ({str(e)[:80]})", name
            )
            yield None


def _picture(row: np.ndarray) -> bytes | None:
    if row.ndim == 3:
        pixels = row if row.shape[-1] in (1, 3) else row.transpose(1, 2, 0)
        space = "GRAY" if pixels.shape[-1] == 1 else "RGB"
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=QUALITY, colorspace=space)
    data = np.asarray(row).tobytes()
    if data.startswith(b"\xff\xd8"):
        return data[: data.rfind(b"\xff\xd9") + 2] if b"\xff\xd9" in data else data
    return data.rstrip(b"\0") or None
