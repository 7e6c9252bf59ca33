"""A pretrained backbone that looks at pictures: one picture gives the same bits, in learning and acting.

Sums of floats depend on how many pictures are looked at together and by how many threads, so pictures go in
equal portions, by one thread. Features are float16: half the room, and what either side rounds to.
"""

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.features.files import FeatureLayer
from lwd_core.rl.chosen import Chosen, plain
from lwd_core.rl.encoders import EYES, PictureBackbone, VisionConfig
from storage_schemas.canonical import canonical_json
from storage_schemas.features import DIGEST

#: Counts changes of what comes before a backbone: how a JPEG becomes a picture (`loader.jpeg`), and rounding.
PREPROCESSING = 1
#: Pictures looked at together, where that changes no bit; twice as fast as one at a time.
TOGETHER = 8

Pictures = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float16]


class FeatureExtractor:
    """One backbone for pictures of one size.

    ``digest`` is that of settings, weights, size and preprocessing, ``facts`` say them; ``layer`` is what it
    makes, ``width`` is F.
    """

    def __init__(self, backbone: Chosen[PictureBackbone], height: int, width: int) -> None:
        self.name, self.settings = backbone.kind, plain(backbone)
        self.size = height, width
        self.width = backbone.made.width
        self._module = backbone.made.module().eval().requires_grad_(False)
        about = canonical_json(
            {"backbone": self.settings, "size": [height, width], "preprocessing": PREPROCESSING}
        )
        self.digest = _digest(about, self._module)
        self.facts = {DIGEST: self.digest, "lwd.features": about.decode(), "lwd.by": EYES.package(self.name)}
        name = f"{re.sub('[^A-Za-z0-9_-]', '_', self.name)}@{self.digest[:12]}"
        self.layer = FeatureLayer(name, self.digest, self.width, self._command())
        self._together = self._portion()

    def __call__(self, pictures: Pictures) -> Features:
        """Pictures (N, height, width, 3) u8, RGB, to features (N, F). Raises `UserError` where they are not
        all finite numbers."""
        found = np.empty((len(pictures), self.width), np.float16)
        whole = len(pictures) - len(pictures) % self._together
        with _alone():
            for first in range(0, whole, self._together):
                found[first : first + self._together] = self._look(pictures[first : first + self._together])
            for one in range(whole, len(pictures)):
                found[one] = self._look(pictures[one : one + 1])
        if not np.isfinite(found).all():
            raise UserError(f"picture backbone {self.name}: it gave what is no number, or beyond float16")
        return found

    def _command(self) -> str:
        own = {name: value for name, value in self.settings.items() if name != "kind"}
        more = f" --settings '{canonical_json(own).decode()}'" if own else ""
        return f"lwd features build {self.name} --height {self.size[0]} --width {self.size[1]}{more}"

    def _look(self, pictures: Pictures) -> Features:
        return self._module(torch.as_tensor(np.array(pictures))).numpy().astype(np.float16)

    def _portion(self) -> int:
        """`TOGETHER`, if this machine then gives each picture the bits it has alone; else one."""
        some = np.random.default_rng(0).integers(0, 256, (TOGETHER, *self.size, 3), np.uint8)
        with _alone():
            together = self._module(torch.as_tensor(some))
            alone = torch.cat([self._module(torch.as_tensor(some[i : i + 1])) for i in range(TOGETHER)])
        if together.shape != (TOGETHER, self.width):
            raise UserError(
                f"picture backbone {self.name}: gives {tuple(together.shape[1:])} a picture, its width says "
                f"{self.width}"
            )
        return TOGETHER if torch.equal(together, alone) else 1


@contextmanager
def _alone() -> Generator[None]:
    """One thread, no gradients, whatever the caller computes with."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def extractor_of(vision: VisionConfig) -> FeatureExtractor:
    """The backbone a policy sees by, as it is installed here.

    Raises `UserError` where it is another than the policy was trained with, or has no weights here.
    """
    assert vision.pretrained is not None
    asked = canonical_json([plain(vision.pretrained), vision.height, vision.width])
    extractor = _opened.get(asked)
    if extractor is None:
        extractor = _opened.setdefault(
            asked, FeatureExtractor(vision.pretrained, vision.height, vision.width)
        )
    if vision.seen_by not in ("", extractor.digest):
        raise UserError(
            f"vision.seen_by: the policy was trained on features of {extractor.name}@{vision.seen_by[:12]}, "
            f"installed here is {extractor.layer.name} of {EYES.package(extractor.name)}; install the "
            "backbone as it was, or train anew"
        )
    return extractor


#: By settings and size: weights are read once a process.
_opened: dict[bytes, FeatureExtractor] = {}


def seen(vision: VisionConfig, pictures: Pictures) -> Tensor:
    """What a network takes of pictures (N, C, height, width, 3) u8: themselves, or features (N, C, F) f32."""
    if vision.pretrained is None:
        return torch.as_tensor(pictures)
    found = extractor_of(vision)(pictures.reshape(-1, *pictures.shape[2:]))
    return torch.as_tensor(found.astype(np.float32)).view(*pictures.shape[:2], -1)


def with_digest(vision: VisionConfig | None) -> VisionConfig | None:
    """The cameras of a new policy, with the digest of the backbone that it learns to see by."""
    if vision is None or vision.pretrained is None:
        return vision
    return replace(vision, seen_by=extractor_of(vision).digest)


def _digest(about: bytes, module: nn.Module) -> str:
    digest = hashlib.sha256(about)
    tensors: dict[str, Any] = module.state_dict()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
