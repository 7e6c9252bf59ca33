"""Batches with features in the frames' place, from a file of the machine's own that is mapped into memory."""

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lwd_core.errors import UserError
from lwd_core.features.extractor import FeatureExtractor
from lwd_core.features.files import read_into
from lwd_core.loader.cache import mapped, npy_header
from lwd_core.loader.image_loader import of_cameras
from lwd_core.loader.images import FrameIndex
from lwd_core.loader.transition_loader import TensorBatch, TransitionLoader
from lwd_core.snapshots.local_copy import cache_folder, drop_cache
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import Location
from storage_schemas.snapshot import MANIFEST


class FrameFeatures:
    """Features of every frame a snapshot shows, found by episode and row.

    Each frame's are kept once, memory-mapped from the snapshot's cache, which is made from the lake's files
    at the first use. Raises `UserError` where a frame has none of this backbone.
    """

    def __init__(
        self, snapshot: Snapshot, lake: Location, extractor: FeatureExtractor, cameras: Sequence[str] | None
    ) -> None:
        index = of_cameras(FrameIndex.of(snapshot), cameras)
        self.cameras, self.first, self.width = index.cameras, index.first, extractor.width
        there = index.shard >= 0
        frames = np.stack([index.shard[there].astype(np.int64), index.offset[there]], axis=1)
        unique, row = np.unique(frames, axis=0, return_inverse=True)
        self._row = np.full(index.shard.shape, -1, np.int64)
        self._row[there] = row
        kind = np.dtype([("features", "<f2", (extractor.width,))])
        name = f"features-{extractor.layer.name}-{'-'.join(map(str, self._columns(snapshot)))}.npy"
        file = cache_folder(snapshot.place, snapshot.digest) / name
        found = mapped(file, [kind])
        if found is None or len(found) != len(unique):
            _make(file, kind, unique, index.names, lake, extractor)
            found = mapped(file, [kind])
            if not snapshot.place.exists(snapshot.digest, MANIFEST):
                # withdrawn while we wrote, as in `loader.cache`
                drop_cache(snapshot.place, snapshot.digest)
                raise UserError(
                    f"snapshot {snapshot.digest}: withdrawn meanwhile, an episode was erased; use its "
                    "successor"
                )
        assert found is not None
        self._features = found["features"]

    def _columns(self, snapshot: Snapshot) -> list[int]:
        return [snapshot.spec.cameras.index(camera) for camera in self.cameras]

    def of(self, episode: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Features (B, C, F) f32 of what was shown at (episode, frame) (B,)."""
        row = self._row[self.first[episode] + frame]
        found = self._features.take(np.maximum(row, 0).reshape(-1), axis=0).astype(np.float32)
        found[row.reshape(-1) < 0] = 0
        return found.reshape(*row.shape, self.width)


class FeatureLoader:
    """A ``TransitionLoader`` whose batches also have ``features`` and, with ``following``, ``next_features``.

    Both are (B, C, F) f32; C counts ``cameras``, by default all of the spec's. ``lake`` is the place of the
    lake whose features of ``extractor`` are read.
    """

    def __init__(
        self,
        loader: TransitionLoader,
        lake: Location,
        extractor: FeatureExtractor,
        *,
        cameras: Sequence[str] | None = None,
        following: bool = False,
    ) -> None:
        self.loader = loader
        self._features = FrameFeatures(loader.snapshot, lake, extractor, cameras)
        self._names = {"features": "frame"} | ({"next_features": "next_frame"} if following else {})

    def __iter__(self) -> Iterator[TensorBatch]:
        """Batches from the loader's present step on, without end."""
        for batch in self.loader:
            yield self._seen(batch)

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step; the iterator's place stays."""
        return self._seen(self.loader.batch(step))

    def _seen(self, batch: TensorBatch) -> TensorBatch:
        episode = batch["episode"].numpy()
        for name, frame in self._names.items():
            batch[name] = torch.from_numpy(self._features.of(episode, batch[frame].numpy()))
        return batch

    @property
    def step(self) -> int:
        """The next batch's."""
        return self.loader.step

    @property
    def batch_size(self) -> int:
        """Of all ranks together."""
        return self.loader.batch_size

    @property
    def instructions(self) -> list[str]:
        """What a batch's ``instruction`` counts in."""
        return self.loader.instructions

    @property
    def tasks(self) -> list[str]:
        """What a batch's ``task`` counts in."""
        return self.loader.tasks

    @property
    def policies(self) -> list[str]:
        """What a batch's ``policy`` counts in; -1 where none ran."""
        return self.loader.policies

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, as the loader within says."""
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly after the batch the state was taken at."""
        self.loader.load_state_dict(state)


def _make(
    file: Path,
    kind: np.dtype,
    frames: np.ndarray,
    names: Sequence[str],
    lake: Location,
    extractor: FeatureExtractor,
) -> None:
    """Write the features of frames (n, 2), shard and offset in order, as records of one file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid.uuid4().hex[:12]}.npy")
    try:
        with temporary.open("wb") as stream:
            stream.write(npy_header(kind, len(frames)))
            stream.truncate(stream.tell() + len(frames) * kind.itemsize)
        records = np.load(temporary, mmap_mode="r+") if len(frames) else np.empty(0, kind)
        for number, name in enumerate(names):
            begin, end = np.searchsorted(frames[:, 0], [number, number + 1])
            if begin < end:
                read_into(lake, extractor.layer, name, frames[begin:end, 1], records["features"][begin:end])
        if len(frames):
            records.flush()
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
