"""Batches with camera frames, decoded into buffers that are used again and again."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lwd_core.errors import UserError
from lwd_core.loader.images import Decoder, FrameIndex, files_of
from lwd_core.loader.transition_loader import TensorBatch, TransitionLoader
from lwd_core.storage.location import Location


class ImageLoader:
    """A ``TransitionLoader`` whose batches also have ``image`` and, with ``following``, ``next_image``.

    Both are (B, C, height, width, 3) u8, RGB; C counts ``cameras``, by default all of the spec's. Their
    memory is one of ``buffers`` taken in turn: a batch's images stand until ``buffers - 1`` more batches were
    taken. ``lake`` is the place of the lake whose frames the snapshot points to; from a bucket whole frame
    shards are fetched and kept up to ``disk_limit`` bytes.
    """

    def __init__(
        self,
        loader: TransitionLoader,
        lake: Location,
        *,
        height: int,
        width: int,
        cameras: Sequence[str] | None = None,
        following: bool = False,
        threads: int = 0,
        buffers: int = 2,
        disk_limit: int = 16 << 30,
    ) -> None:
        index = of_cameras(FrameIndex.of(loader.snapshot), cameras)
        self._files = files_of(lake, disk_limit)
        self._threads = ThreadPoolExecutor(threads, "jpeg") if threads else None
        self.loader = loader
        self._decoder = Decoder(index, self._files, height, width, self._threads)
        names = {"image": "frame"} | ({"next_image": "next_frame"} if following else {})
        shape = (loader.samples, len(index.cameras), height, width, 3)
        self._ring = [{n: _pixels(shape) for n in names} for _ in range(buffers)]
        self._names = names

    def __iter__(self) -> Iterator[TensorBatch]:
        """Batches from the loader's present step on, without end."""
        for number, batch in enumerate(self.loader):
            yield self._filmed(batch, self._ring[number % len(self._ring)])

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step, in memory of its own; the iterator's place stays."""
        images = {name: _pixels(tuple(image.shape)) for name, image in self._ring[0].items()}
        return self._filmed(self.loader.batch(step), images)

    def _filmed(self, batch: TensorBatch, images: TensorBatch) -> TensorBatch:
        for name, frame in self._names.items():
            self._decoder.decode(batch["episode"].numpy(), batch[frame].numpy(), images[name].numpy())
        return batch | images

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

    def close(self) -> None:
        """Give back threads and open files."""
        if self._threads is not None:
            self._threads.shutdown()
        self._files.close()


def _pixels(shape: tuple[int, ...]) -> torch.Tensor:
    """Memory for pictures: numpy's, which asks for huge pages; in torch's a frame takes a quarter longer."""
    return torch.from_numpy(np.empty(shape, np.uint8))


def of_cameras(index: FrameIndex, cameras: Sequence[str] | None) -> FrameIndex:
    """The index of these cameras only, in this order."""
    if cameras is None:
        return index
    if unknown := [c for c in cameras if c not in index.cameras]:
        raise UserError(
            f"cameras: the snapshot has no {', '.join(unknown)}, only {', '.join(index.cameras)}; "
            "name them in its spec"
        )
    columns = [index.cameras.index(c) for c in cameras]
    return replace(
        index,
        cameras=tuple(cameras),
        shard=index.shard[:, columns],
        offset=index.offset[:, columns],
        size=index.size[:, columns],
    )
