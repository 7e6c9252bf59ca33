"""Camera pictures as the networks saw them in training: aspect kept, padded with black, in [-1, 1].

SmolVLA's lie to the right and at the bottom, pi's in the middle. Interpolation is bilinear, without smoothing
before.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.errors import UserError, suggest
from lwd_core.rl.vla.config import Kind, VlaConfig

ABSENT = -1.0  # every pixel of a camera that is not there


def prepared(
    config: VlaConfig, pictures: Mapping[str, Tensor], shown: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """What `VlaModel.prefix` takes: images (B, C, 3, height, width) in [-1, 1], and which are there (B, C)
    bool.

    pictures: of cameras by the checkpoint's names, each (B, h, w, 3) u8, or float in [0, 1]; those that are
    left out are masked. shown: (B,) bool for cameras that some samples lack. `UserError` for a camera that
    the checkpoint has not, and for none at all.
    """
    for name in (*pictures, *(shown or ())):
        if name not in config.cameras:
            raise UserError(
                f"camera {name}: this checkpoint has none of that name{suggest(name, config.cameras)}"
            )
    if not pictures:
        raise UserError(f"no camera; this checkpoint has {', '.join(config.cameras)}: map at least one")
    first = next(iter(pictures.values()))
    images = torch.full(
        (len(first), len(config.cameras), 3, config.height, config.width), ABSENT, device=first.device
    )
    mask = torch.zeros(len(first), len(config.cameras), dtype=torch.bool, device=first.device)
    for place, name in enumerate(config.cameras):
        if name not in pictures:
            continue
        there = (shown or {}).get(name)
        mask[:, place] = True if there is None else there
        images[:, place] = fitted(config.kind, pictures[name], config.height, config.width)
    return torch.where(mask[:, :, None, None, None], images, ABSENT), mask


def fitted(kind: Kind, picture: Tensor, height: int, width: int) -> Tensor:
    """One camera's pictures (B, h, w, 3), u8 or float in [0, 1], to (B, 3, height, width) f32 in [-1, 1]."""
    if picture.dim() != 4 or picture.shape[-1] != 3:
        raise ValueError(f"pictures are (B, height, width, 3), not {tuple(picture.shape)}")
    seen = picture.permute(0, 3, 1, 2)
    seen = seen.float() / 255 if seen.dtype == torch.uint8 else seen.float()
    h, w = seen.shape[-2:]
    if (h, w) != (height, width):
        ratio = max(w / width, h / height)
        inner = (int(h / ratio), int(w / ratio))
        if kind == "smolvla":
            seen = seen.contiguous()  # another memory layout rounds otherwise
        seen = F.interpolate(seen, inner, mode="bilinear", align_corners=False)
        down, across = height - inner[0], width - inner[1]
        if kind == "smolvla":
            seen = F.pad(seen, (across, 0, down, 0))
        else:
            left, top = across // 2, down // 2
            seen = F.pad(seen.clamp(0, 1), (left, across - left, top, down - top))
    return seen * 2 - 1
