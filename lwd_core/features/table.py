"""Features at hand: of every frame that is shown, once, in a file without a name that is mapped into memory.

So memory is the page cache's, and nothing is left behind when the process ends.
"""

import weakref
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import numpy as np

from lwd_core.errors import UserError
from lwd_core.features.build import make
from lwd_core.features.extractor import FeatureExtractor
from lwd_core.features.files import known, read_into
from lwd_core.lake.store import Lake
from lwd_core.loader.images import FrameIndex
from lwd_core.snapshots.local_copy import cache_home
from lwd_core.storage.location import Location

#: A frame's key is its shard's number in so many bits' places above its offset.
_SHARD = 44


class FeatureTable:
    """Features of frames of one lake, read from its files as they are asked for; of any number of indices."""

    def __init__(self, lake: Location, extractor: FeatureExtractor) -> None:
        self._lake, self._extractor = lake, extractor
        self._file = _scratch(lake)
        weakref.finalize(self, self._file.close)
        self._shards: dict[str, int] = {}
        self._keys = np.empty(0, np.int64)
        self._rows = np.empty(0, np.int64)
        self.values = np.empty((0, extractor.width), np.float16)

    def shown(self, index: FrameIndex, *, making: bool = False) -> "ShownFeatures":
        """What is shown at each row of an index; where it has no frame the last before it, as of pictures.

        ``making``: frames without features are looked at, and these kept in the lake; else `UserError` says
        how to make them.
        """
        numbers = [self._shards.setdefault(name, len(self._shards)) for name in index.names]
        keys = (np.array([*numbers, 0], np.int64)[index.shard] << _SHARD) + index.offset
        here = index.shard >= 0
        wanted = np.unique(keys[here])
        new = wanted[~np.isin(wanted, self._keys)]
        if len(new):
            self._add(index, new, making)
        last = np.maximum.accumulate(np.where(here, np.arange(len(here))[:, None], -1), axis=0)
        lengths = np.diff(np.append(index.first, len(here)))
        there = last >= np.repeat(index.first, lengths)[:, None]
        at = np.take_along_axis(keys, np.maximum(last, 0), axis=0)
        row = np.full(keys.shape, -1, np.int64)
        row[there] = self._rows[np.searchsorted(self._keys, at[there])]
        return ShownFeatures(self, index.first, row)

    def place_of(self, row: int) -> str:
        """Shard and offset of a row of ``values``, for a person."""
        key = int(self._keys[np.flatnonzero(self._rows == row)[0]])
        shard = list(self._shards)[key >> _SHARD]
        return f"{self._lake.path(shard)}: the frame at byte {key & ((1 << _SHARD) - 1)}"

    def _add(self, index: FrameIndex, keys: np.ndarray, making: bool) -> None:
        """Append the features of frames, by rising keys."""
        shard, offsets = keys >> _SHARD, keys & ((1 << _SHARD) - 1)
        count, width = len(self._keys), self._extractor.width
        self._file.truncate((count + len(keys)) * width * 2)
        out = np.memmap(self._file, np.float16, "r+", count * width * 2, (len(keys), width))
        for number in map(int, np.unique(shard)):
            begin, end = np.searchsorted(shard, [number, number + 1])
            name = list(self._shards)[number]
            if making:
                self._make(name, offsets[begin:end], index)
            read_into(self._lake, self._extractor.layer, name, offsets[begin:end], out[begin:end])
        out.flush()
        self._keys = np.append(self._keys, keys)
        order = np.argsort(self._keys)
        self._keys = self._keys[order]
        self._rows = np.append(self._rows, np.arange(count, count + len(keys)))[order]
        self.values = np.memmap(self._file, np.float16, "r", 0, (count + len(keys), width))

    def _make(self, shard: str, offsets: np.ndarray, index: FrameIndex) -> None:
        missing = offsets[~np.isin(offsets, known(self._lake, self._extractor.layer, shard))]
        if len(missing):
            here = (index.shard == index.names.index(shard)) & np.isin(index.offset, missing)
            places, first = np.unique(index.offset[here], return_index=True)
            make(Lake(self._lake), self._extractor, shard, places, index.size[here][first])


def _scratch(lake: Location) -> IO[bytes]:
    """A file without a name: where the frames are there is room, unless they may only be read."""
    wrong: OSError | None = None
    for home in ([] if lake.remote else [Path(lake.root)]) + [cache_home(), Path(gettempdir())]:
        try:
            home.mkdir(parents=True, exist_ok=True)
            return TemporaryFile(dir=home, prefix="features-")
        except OSError as error:
            wrong = error
    raise UserError(f"features: no folder to write to ({wrong}); set TMPDIR to one with room")


@dataclass(frozen=True)
class ShownFeatures:
    """``row`` (N, C) of the table's values at each row of an index, -1 where a camera shows nothing;
    ``first`` row of episodes (E,)."""

    table: FeatureTable
    first: np.ndarray
    row: np.ndarray

    def at(self, episode: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (B, C, F) f32 of what was shown at (episode, frame) (B,), and (B, C) bool, whether
        something was. Raises `UserError` for a frame that is no picture."""
        row = self.row[self.first[episode] + frame]
        there = row >= 0
        if not there.any():  # the table may be empty as well
            return np.zeros((*row.shape, self.table.values.shape[1]), np.float32), there
        found = self.table.values.take(np.maximum(row, 0).reshape(-1), axis=0).astype(np.float32)
        found[~there.reshape(-1)] = 0
        bad = np.isnan(found[:, 0])
        if bad.any():
            where = self.table.place_of(int(row.reshape(-1)[np.argmax(bad)]))
            raise UserError(
                f"{where} has no features, it is no picture; the check pictures@1 names its episode, and a "
                "spec's `where` leaves it out"
            )
        return found.reshape(*row.shape, -1), there
