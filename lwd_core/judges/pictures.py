"""What cameras showed, as a few numbers of the features a pretrained backbone made of each frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lwd_core.errors import UserError
from lwd_core.features import files
from lwd_core.judges.networks import Array
from lwd_core.lake.episode import Episode
from lwd_core.lake.store import Lake

#: Numbers that are kept of a frame, the directions in which frames differ most, and frames that say which.
KEPT, SAMPLE = 16, 2048


@dataclass(frozen=True)
class FrameView:
    """Frames of ``cameras`` by features of a layer, less their ``mean`` (F,), along a ``basis`` (F, KEPT)."""

    lake: Lake
    layer: str
    cameras: tuple[str, ...]
    mean: Array
    basis: Array

    @classmethod
    def of(cls, lake: Lake, layer: str, cameras: Sequence[str]) -> Self:
        """For frames like those of a layer, given by the beginning of its name. Raises `UserError`."""
        named = files.named(lake.place, layer)
        some = files.sample(lake.place, named, SAMPLE)[:SAMPLE].astype(float)
        if not len(some):
            raise UserError(f"features {named}: none of any frame; make them by `lwd features build`")
        mean = some.mean(0)
        basis = np.linalg.svd(some - mean, full_matrices=False)[2][:KEPT].T
        return cls(lake, named, tuple(cameras), mean, basis)

    def __call__(self, episode: Episode) -> Array:
        """(R, cameras × KEPT); NaN where no frame is. Raises `UserError` for one without features."""
        frames = [() if row is None else row for row in episode["frames"]]
        width = self.basis.shape[1]
        found = np.full((len(frames), len(self.cameras) * width), np.nan)
        for c, camera in enumerate(self.cameras):
            shown = [next((f for f in row if f["camera"] == camera), None) for row in frames]
            rows = np.array([i for i, frame in enumerate(shown) if frame is not None], int)
            if not len(rows):
                raise UserError(f"it has no frame of camera {camera}")
            places = [(frame["shard"], frame["offset"]) for frame in shown if frame is not None]
            known = self._reduced({shard for shard, _ in places})
            missing = [place for place in places if place not in known]
            if missing:
                raise UserError(
                    f"{len(missing)} of its frames of {camera} have no features of {self.layer}; "
                    "`lwd features build` makes them"
                )
            found[rows, c * width : (c + 1) * width] = [known[place] for place in places]
        return found

    def arrays(self) -> dict[str, Array]:
        """What a model keeps of it."""
        return {"mean": self.mean, "basis": self.basis}

    def about(self) -> dict[str, Any]:
        """What a model says of it."""
        return {"layer": self.layer, "cameras": list(self.cameras)}

    @classmethod
    def from_kept(cls, lake: Lake, about: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """What `about` and `arrays` gave."""
        return cls(lake, about["layer"], tuple(about["cameras"]), arrays["mean"], arrays["basis"])

    def _reduced(self, shards: set[str]) -> dict[tuple[str, int], Array]:
        found: dict[tuple[str, int], Array] = {}
        for shard in shards:
            path = files.path_of(self.layer, shard)
            if not self.lake.place.exists(path):
                continue
            for table in files.tables(self.lake.place, path, ["offset", "features"]):
                values, there = files.vectors(table["features"])
                reduced = (values - self.mean) @ self.basis
                offsets = table["offset"].to_numpy()[there].tolist()
                found |= {(shard, offset): row for offset, row in zip(offsets, reduced, strict=True)}
        return found
