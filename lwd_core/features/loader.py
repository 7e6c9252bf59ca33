"""Batches with features in the pictures' place."""

from collections.abc import Iterator, Sequence

import torch

from lwd_core.features.table import FeatureTable, ShownFeatures
from lwd_core.loader.filmed import AroundFilmed, Filmed
from lwd_core.loader.images import FrameIndex
from lwd_core.loader.transition_loader import TensorBatch


class FeatureLoader(AroundFilmed):
    """A loader whose batches also have ``features`` and, with ``following``, ``next_features``.

    Both are (B, C, F) f32; C counts ``cameras``, by default all of the loader's. Beside them
    ``features_mask`` and ``next_features_mask`` (B, C) bool say of which there is a picture. ``making``:
    frames that have no features are looked at, as of a lake that is followed; else they are an error.
    """

    def __init__(
        self,
        loader: Filmed,
        table: FeatureTable,
        *,
        cameras: Sequence[str] | None = None,
        following: bool = False,
        making: bool = False,
    ) -> None:
        super().__init__(loader, cameras)
        self._table, self._making = table, making
        self._names = {"features": "frame"} | ({"next_features": "next_frame"} if following else {})
        self._looking: tuple[FrameIndex, ShownFeatures] | None = None

    def __iter__(self) -> Iterator[TensorBatch]:
        """Batches from the loader's present step on, without end."""
        for batch in self.loader:
            yield self._seen(batch)

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step; the iterator's place stays."""
        return self._seen(self.loader.batch(step))

    def _seen(self, batch: TensorBatch) -> TensorBatch:
        frames, found = self.loader.frames, TensorBatch()
        if self._looking is None or self._looking[0] is not frames:  # a lake that is followed grows
            chosen = frames.chosen(self._cameras)
            self._looking = frames, self._table.shown(chosen, making=self._making)
        for name, frame in self._names.items():
            features, there = self._looking[1].at(batch["episode"].numpy(), batch[frame].numpy())
            found[name], found[f"{name}_mask"] = torch.as_tensor(features), torch.as_tensor(there)
        return batch | found
