"""Batches with camera frames, decoded into buffers that are used again and again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from lwd_core.lake.place import Place
from lwd_core.snapshots.fetch import OBJECTS, DiskCache, cache_home
from lwd_core.snapshots.images import Decoder, FetchedFiles, FrameIndex, LocalFiles
from lwd_core.snapshots.loader import Batch, TransitionLoader


class ImageLoader:
    """A ``TransitionLoader`` whose batches also have ``image`` and, with ``following``, ``next_image``.

    Both are (B, C, height, width, 3) u8, RGB, cameras in the spec's order. Their memory is one of ``buffers``
    taken in turn: a batch's images stand until ``buffers - 1`` more batches were taken. ``lake`` is the place
    of the lake whose frames the snapshot points to; from a bucket whole frame shards are fetched and kept up
    to ``disk_limit`` bytes.
    """

    def __init__(
        self,
        loader: TransitionLoader,
        lake: Place,
        *,
        height: int,
        width: int,
        following: bool = False,
        threads: int = 0,
        buffers: int = 2,
        disk_limit: int = 16 << 30,
    ) -> None:
        index = FrameIndex.of(loader.snapshot)
        disk = DiskCache(cache_home() / OBJECTS, disk_limit)
        self._files = FetchedFiles(lake, disk) if lake.remote else LocalFiles(lake.root)
        self._threads = ThreadPoolExecutor(threads, "jpeg") if threads else None
        self.loader = loader
        self._decoder = Decoder(index, self._files, height, width, self._threads)
        names = {"image": "frame"} | ({"next_image": "next_frame"} if following else {})
        shape = (loader.samples, len(index.cameras), height, width, 3)
        self._ring = [{n: torch.empty(shape, dtype=torch.uint8) for n in names} for _ in range(buffers)]
        self._names = names

    def __iter__(self) -> Iterator[Batch]:
        """Batches from the loader's present step on, without end."""
        for number, batch in enumerate(self.loader):
            images = self._ring[number % len(self._ring)]
            for name, frame in self._names.items():
                self._decoder.decode(batch["episode"].numpy(), batch[frame].numpy(), images[name].numpy())
            yield batch | images

    def close(self) -> None:
        """Give back threads and open files."""
        if self._threads is not None:
            self._threads.shutdown()
        self._files.close()
