"""Camera frames of a snapshot: not copied, pointed at where the lake keeps them, and pinned by hash."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.storage.location import Location
from storage_schemas.snapshot import FrameShard

_CHUNK = 1 << 22


@dataclass(frozen=True)
class RowFrames:
    """What C cameras show at R rows of one episode.

    uris: the shards their frames lie in. (R, C): shard i32 into them, -1 where nothing is shown; offset i64
    and size i32 in bytes; age i64, ns since the tick that first saw the frame, -1 where nothing is shown.
    """

    uris: tuple[str, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    age: np.ndarray

    @classmethod
    def of(cls, shown: pa.ListArray, t_ns: np.ndarray, cameras: Sequence[str]) -> "RowFrames":
        """From ``steps.frames`` of R rows at t_ns (R,); other cameras' are left out."""
        lengths = pc.fill_null(pc.list_value_length(shown), 0).to_numpy(zero_copy_only=False)
        flat = shown.flatten()
        row = np.repeat(np.arange(len(shown)), lengths)
        camera = pc.index_in(flat.field("camera"), value_set=pa.array(cameras, pa.string()))
        kept = pc.is_valid(camera).to_numpy(zero_copy_only=False)
        at = row[kept], camera.drop_null().to_numpy().astype(np.intp)
        names = flat.field("shard").filter(pa.array(kept))
        uris = pc.unique(names)
        shape = len(shown), len(cameras)
        shard, offset, size = (
            np.full(shape, -1, np.int32),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int32),
        )
        shard[at] = pc.index_in(names, value_set=uris).to_numpy()
        offset[at] = flat.field("offset").to_numpy()[kept]
        size[at] = flat.field("size").to_numpy()[kept]
        age = np.stack(
            [_age(shard[:, c], offset[:, c], t_ns) for c in range(len(cameras))], axis=1
        ) if cameras else np.empty(shape, np.int64)  # fmt: skip
        return cls(tuple(uris.to_pylist()), shard, offset, size, age)

    def take(self, rows: np.ndarray) -> "RowFrames":
        """Those at some rows; ages stay what they were."""
        arrays = {name: getattr(self, name)[rows] for name in ("shard", "offset", "size", "age")}
        return replace(self, **arrays)


def _age(shard: np.ndarray, offset: np.ndarray, t_ns: np.ndarray) -> np.ndarray:
    """(R,) ns since the row that first showed the frame of a row; -1 where there is none."""
    age = np.full(len(shard), -1, np.int64)
    there = np.flatnonzero(shard >= 0)
    if len(there):
        other = (np.diff(shard[there]) != 0) | (np.diff(offset[there]) != 0)
        begins = np.append(0, np.flatnonzero(other) + 1)
        first = np.repeat(there[begins], np.diff(np.append(begins, len(there))))
        age[there] = t_ns[there] - t_ns[first]
    return age


@dataclass
class FrameTable:
    """Numbers the frame shards as episodes name them."""

    _ids: dict[str, int] = field(default_factory=dict)

    @property
    def uris(self) -> list[str]:
        """Shards by number."""
        return list(self._ids)

    def tensors(self, frames: RowFrames | None) -> dict[str, np.ndarray]:
        """frame_shard i32, frame_offset i64, frame_size i32, frame_age i64, each (R, C); -1: no frame."""
        if frames is None:
            return {}
        numbers = [self._ids.setdefault(uri, len(self._ids)) for uri in frames.uris]
        shard = np.append(np.array(numbers, np.int32), np.int32(-1))[frames.shard]
        return {
            "frame_shard": shard,
            "frame_offset": frames.offset,
            "frame_size": frames.size,
            "frame_age": frames.age,
        }


def pin_frames(place: Location, uris: Sequence[str]) -> tuple[FrameShard, ...]:
    """Size and SHA-256 of each frame shard, given relative to the lake's root."""
    pinned = []
    for uri in uris:
        digest, size = hashlib.sha256(), 0
        with place.fs.open(place.path(uri), "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        pinned.append(FrameShard(uri, size, digest.hexdigest()))
    return tuple(pinned)
