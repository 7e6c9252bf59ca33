"""What a robot's cameras show, as a policy's network takes it: the same pixels that learning saw."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.errors import UserError, suggest
from lwd_core.features.extractor import seen
from lwd_core.lake.frames import jpeg_size
from lwd_core.loader.jpeg import decode_frame, scale_frame
from lwd_core.policies.inputs import Frame, Shown
from lwd_core.rl.encoders import VisionConfig


class Pixels(NamedTuple):
    """image: (B, C, height, width, 3) u8, RGB, in the order of the network's cameras, or their features by
    its pretrained backbone, (B, C, F) f32.

    image_mask: (B, C) bool, None where all are pictures. Both are None for a network without cameras.
    """

    image: Tensor | None
    image_mask: Tensor | None


#: What a policy without cameras sees.
BLIND = Pixels(None, None)


def sizes_of(embodiments: Mapping[str, Mapping[str, int]]) -> dict[str, set[tuple[int, int]]]:
    """Heights and widths of the pictures each camera showed in training, by a bundle's embodiments; none of
    bundles of before."""
    found: dict[str, set[tuple[int, int]]] = {}
    for widths in embodiments.values():
        for key, height in widths.items():
            camera, _, what = key.rpartition(".")
            if what == "height":
                found.setdefault(camera, set()).add((height, widths[f"{camera}.width"]))
    return found


def pixels(
    frames: Sequence[Shown] | None,
    count: int,
    vision: VisionConfig,
    who: str,
    sizes: Mapping[str, Collection[tuple[int, int]]] = MappingProxyType({}),
) -> Pixels:
    """Those of ``count`` states' frames; ``sizes`` are what cameras showed in training, where that is known.

    Raises `UserError`, beginning with ``who``, for a camera that is missing, a picture that is none, one of
    another size (a network takes it for something else), and a state at which no camera shows anything: no
    embodiment without any of them is learned from.
    """
    if frames is None or len(frames) != count:
        raise UserError(f"{who}: sees {', '.join(vision.cameras)}; give a frame of each a state")
    images = torch.empty((count, len(vision.cameras), vision.height, vision.width, 3), dtype=torch.uint8)
    for shown, row in zip(frames, images.numpy(), strict=True):
        for name, out in zip(vision.cameras, row, strict=True):
            if name not in shown:
                raise UserError(
                    f"{who}: camera {name} is not among {', '.join(shown) or 'none'}"
                    f"{suggest(name, list(shown))}; check the robot's embodiment file"
                )
            frame = shown[name]
            if frame is None:
                out[...] = 0
            else:
                _into(frame, out, sizes.get(name, ()), f"{who}: camera {name}")
        if all(shown[name] is None for name in vision.cameras):
            raise UserError(
                f"{who}: sees {', '.join(vision.cameras)}, and is shown nothing by any of them; look after "
                "the robot's cameras, or run a policy that needs none"
            )
    there = torch.tensor([[shown[name] is not None for name in vision.cameras] for shown in frames])
    return Pixels(seen(vision, images.numpy()), None if bool(there.all()) else there)


def _into(frame: Frame, out: npt.NDArray[np.uint8], known: Collection[tuple[int, int]], where: str) -> None:
    if isinstance(frame, bytes):
        try:
            _require(known, jpeg_size(frame), where)
            decode_frame(frame, out)
        except ValueError as error:
            raise UserError(f"{where}: no JPEG ({error}); send whole frames") from error
    elif frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        _require(known, (frame.shape[0], frame.shape[1]), where)
        scale_frame(frame, out)
    else:
        raise UserError(f"{where}: {frame.dtype} of shape {frame.shape}; give (height, width, 3) uint8, RGB")


def _require(known: Collection[tuple[int, int]], size: tuple[int, int], where: str) -> None:
    if known and size not in known:
        learned = " or ".join(f"{width}x{height}" for height, width in sorted(known))
        raise UserError(
            f"{where}: shows {size[1]}x{size[0]} pixels, it learned from {learned}; set the camera to that "
            "(a fleet's is `camera_size`, `--camera-size` of its commands)"
        )
