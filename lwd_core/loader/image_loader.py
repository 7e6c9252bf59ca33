"""Batches with camera frames, decoded into buffers that are used again and again."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from lwd_core.loader.filmed import AroundFilmed, Filmed
from lwd_core.loader.images import Decoder, FrameIndex, files_of
from lwd_core.loader.transition_loader import TensorBatch
from lwd_core.storage.location import Location


class ImageLoader(AroundFilmed):
    """A loader whose batches also have ``image`` and, with ``following``, ``next_image``.

    Both are (B, C, height, width, 3) u8, RGB; C counts ``cameras``, by default all of the spec's. Beside them
    ``image_mask`` and ``next_image_mask`` (B, C) bool say which are pictures: of a camera that an embodiment
    has not there is none. Their memory is one of ``buffers`` taken in turn: a batch's images stand until
    ``buffers - 1`` more batches were taken. ``lake`` is the place of the lake that keeps the frames; from a
    bucket whole frame shards are fetched and kept up to ``disk_limit`` bytes.
    """

    def __init__(
        self,
        loader: Filmed,
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
        super().__init__(loader, cameras)
        self._size = (height, width)
        self._files = files_of(lake, disk_limit)
        self._threads = ThreadPoolExecutor(threads, "jpeg") if threads else None
        self._names = {"image": "frame"} | ({"next_image": "next_frame"} if following else {})
        self._ring: list[TensorBatch | None] = [None] * buffers
        self._looking: tuple[FrameIndex, Decoder] | None = None

    def __iter__(self) -> Iterator[TensorBatch]:
        """Batches from the loader's present step on, without end."""
        for number, batch in enumerate(self.loader):
            place = number % len(self._ring)
            images = self._ring[place] = self._ring[place] or self._fresh()
            yield self._filmed(batch, images)

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step, in memory of its own; the iterator's place stays."""
        return self._filmed(self.loader.batch(step), self._fresh())

    def _filmed(self, batch: TensorBatch, images: TensorBatch) -> TensorBatch:
        frames, masks = self.loader.frames, TensorBatch()
        if self._looking is None or self._looking[0] is not frames:  # a lake that is followed grows
            chosen = frames.chosen(self._cameras)
            self._looking = frames, Decoder(chosen, self._files, *self._size, self._threads)
        decoder = self._looking[1]
        for name, frame in self._names.items():
            there = decoder.decode(batch["episode"].numpy(), batch[frame].numpy(), images[name].numpy())
            masks[f"{name}_mask"] = torch.as_tensor(there)
        return batch | images | masks

    def _fresh(self) -> TensorBatch:
        """Memory for a batch's pictures: numpy's, which asks for huge pages; in torch's a frame takes a
        quarter longer."""
        shape = (self.loader.samples, len(self._cameras), *self._size, 3)
        return {name: torch.from_numpy(np.empty(shape, np.uint8)) for name in self._names}

    def close(self) -> None:
        """Give back threads and open files."""
        if self._threads is not None:
            self._threads.shutdown()
        self._files.close()
