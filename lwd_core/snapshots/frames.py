"""Camera frames of a snapshot: not copied, pointed at where the lake keeps them, and pinned by hash."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwd_core.storage.location import Location
from storage_schemas.snapshot import FrameShard

_CHUNK = 1 << 22


@dataclass
class FrameTable:
    """Numbers the frame shards as episodes name them."""

    cameras: Sequence[str]
    _ids: dict[str, int] = field(default_factory=dict)

    @property
    def uris(self) -> list[str]:
        """Shards by number."""
        return list(self._ids)

    def tensors(self, frames: list[list[dict[str, Any]] | None] | None) -> dict[str, np.ndarray]:
        """frame_shard i32, frame_offset i64, frame_size i32, each (R, C); shard -1: no frame."""
        if frames is None:
            return {}
        shape = (len(frames), len(self.cameras))
        shard, offset, size = (
            np.full(shape, -1, np.int32),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int32),
        )
        columns = {camera: c for c, camera in enumerate(self.cameras)}
        for row, shown in enumerate(frames):
            for frame in shown or ():
                column = columns.get(frame["camera"])
                if column is not None:
                    shard[row, column] = self._ids.setdefault(frame["shard"], len(self._ids))
                    offset[row, column] = frame["offset"]
                    size[row, column] = frame["size"]
        return {"frame_shard": shard, "frame_offset": offset, "frame_size": size}


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
