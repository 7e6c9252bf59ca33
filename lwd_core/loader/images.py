"""Camera frames of a snapshot: found by episode and row, read at their offset, decoded into given memory."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lwd_core.errors import UserError
from lwd_core.loader.jpeg import decode_frame
from lwd_core.snapshots.local_copy import OBJECTS, DiskCache, cache_home
from lwd_core.snapshots.shard_reader import samples
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import Location


class Bytes(Protocol):
    """Random access to files by name."""

    def read(self, name: str, offset: int, size: int) -> bytes: ...
    def close(self) -> None: ...


class _OpenFile:
    """A descriptor that is closed with the last reader that holds it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class LocalFiles:
    """Reads at offsets of files below a folder; the last ``most`` stay open. Safe in threads."""

    def __init__(self, root: str, most: int = 256) -> None:
        self._root, self._most, self._lock = Path(root), most, threading.Lock()
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()

    def read(self, name: str, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``. UserError names a file that is missing or too short."""
        with self._lock:
            file = self._open.get(name) or self._opened(name)
            self._open.move_to_end(name)
        data = os.pread(file.descriptor, size, offset)
        if len(data) != size:
            raise UserError(f"{self._root / name}: ends before byte {offset + size}; fetch it again")
        return data

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._open.clear()

    def _opened(self, name: str) -> _OpenFile:
        try:
            self._open[name] = _OpenFile(self._root / name)
        except FileNotFoundError:
            raise UserError(f"{self._root / name}: this frame shard is missing") from None
        if len(self._open) > self._most:
            self._open.popitem(last=False)
        return self._open[name]


class FetchedFiles:
    """Reads at offsets of objects in a bucket, each fetched whole to local disk."""

    def __init__(self, place: Location, disk: DiskCache) -> None:
        self._place, self._disk = place, disk

    def read(self, name: str, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``. UserError names an object that is missing."""
        try:
            with self._disk.open(self._place, name) as stream:
                return os.pread(stream.fileno(), size, offset)
        except FileNotFoundError:
            raise UserError(f"{self._place.path(name)}: this frame shard is missing") from None

    def close(self) -> None:
        """Nothing is held open."""


def files_of(lake: Location, disk_limit: int = 16 << 30) -> Bytes:
    """A lake's files; from a bucket they are fetched and kept up to ``disk_limit`` bytes."""
    if not lake.remote:
        return LocalFiles(lake.root)
    return FetchedFiles(lake, DiskCache(cache_home() / OBJECTS, disk_limit))


@dataclass(frozen=True)
class FrameIndex:
    """Where each row's frames lie: shard (-1: none), offset, size (N, C); ``first`` row of episodes (E,)."""

    cameras: tuple[str, ...]
    names: tuple[str, ...]
    first: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, snapshot: Snapshot) -> "FrameIndex":
        """The index of all episodes; 16 bytes a row and camera."""
        names = tuple(f.uri for f in snapshot.manifest.frame_shards)
        return cls.of_samples(snapshot.spec.cameras, names, samples(snapshot, snapshot.episodes))

    @classmethod
    def of_samples(
        cls, cameras: Sequence[str], names: Sequence[str], tensors: Iterable[Mapping[str, np.ndarray]]
    ) -> "FrameIndex":
        """Of episodes' frame tensors, see ``storage_schemas.snapshot``; ``names`` are the shards'."""
        parts = [(s["frame_shard"], s["frame_offset"], s["frame_size"]) for s in tensors]
        rows = np.array([len(shard) for shard, _, _ in parts])
        shard, offset, size = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(tuple(cameras), tuple(names), np.cumsum(rows) - rows, shard, offset, size)

    def chosen(self, cameras: Sequence[str]) -> "FrameIndex":
        """Of these cameras only, in this order."""
        if tuple(cameras) == self.cameras:
            return self
        columns = [self.cameras.index(c) for c in cameras]
        arrays = {name: getattr(self, name)[:, columns] for name in ("shard", "offset", "size")}
        return replace(self, cameras=tuple(cameras), **arrays)


class Decoder:
    """Frames of samples into one array.

    A row without a frame of a camera shows the last one before it. Where there is none, pixels are 0 and the
    mask says so.
    """

    def __init__(
        self, index: FrameIndex, files: Bytes, height: int, width: int, threads: Executor | None = None
    ) -> None:
        self._index, self._files, self._threads = index, files, threads
        self._height, self._width = height, width
        here = np.where(index.shard >= 0, np.arange(len(index.shard))[:, None], -1)
        self._shown = np.maximum.accumulate(here, axis=0)

    def decode(self, episode: np.ndarray, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Fill ``out`` (B, C, height, width, 3) u8, RGB, with the frames shown at (episode, frame) (B,).

        Returns (B, C) bool, whether there is one.
        """
        index = self._index
        begin = index.first[episode]
        shown, camera = self._shown[begin + frame], np.arange(len(index.cameras))
        # one pass of numpy for the batch; the loop over frames then handles plain integers
        there = shown >= begin[:, None]
        shard = np.where(there, index.shard[shown, camera], -1).ravel().tolist()
        offset = index.offset[shown, camera].ravel().tolist()
        size = index.size[shown, camera].ravel().tolist()
        jobs = list(zip(shard, offset, size, out.reshape(-1, *out.shape[2:]), strict=True))
        if self._threads is None:
            self._decode(jobs)
        else:
            share = max(1, len(jobs) // 16)
            parts = [jobs[i : i + share] for i in range(0, len(jobs), share)]
            list(self._threads.map(self._decode, parts))
        return there

    def _decode(self, jobs: Sequence[tuple[int, int, int, np.ndarray]]) -> None:
        for shard, offset, size, out in jobs:
            if shard < 0:
                out[...] = 0
                continue
            name = self._index.names[shard]
            data = self._files.read(name, offset, size)
            try:
                decode_frame(data, out)
            except ValueError as e:
                raise UserError(
                    f"{name}: no JPEG of {size} bytes at {offset} ({e}); `lwd doctor` names what is damaged, "
                    "and a spec's `where` leaves an episode out"
                ) from e
