"""What a robot's cameras show, as a policy's network takes it: the same pixels that learning saw."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.errors import UserError, suggest
from lwd_core.loader.jpeg import decode_frame, scale_frame
from lwd_core.rl.encoders import VisionConfig

#: A picture as a robot has it: JPEG bytes, or (h, w, 3) u8 RGB.
Frame = bytes | npt.NDArray[np.uint8]


def pixels(
    frames: Sequence[Mapping[str, Frame]] | None, count: int, vision: VisionConfig, who: str
) -> Tensor:
    """(B, C, height, width, 3) u8 of ``count`` states' frames, in the order of the network's cameras.

    Raises `UserError`, beginning with ``who``, for a camera that is missing and a picture that is none.
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
            _into(shown[name], out, f"{who}: camera {name}")
    return images


def _into(frame: Frame, out: npt.NDArray[np.uint8], where: str) -> None:
    if isinstance(frame, bytes):
        try:
            decode_frame(frame, out)
        except ValueError as error:
            raise UserError(f"{where}: no JPEG ({error}); send whole frames") from error
    elif frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        scale_frame(frame, out)
    else:
        raise UserError(f"{where}: {frame.dtype} of shape {frame.shape}; give (height, width, 3) uint8, RGB")
