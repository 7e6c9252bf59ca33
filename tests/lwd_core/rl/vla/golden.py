"""The folders in goldens/, and what the official code computed on them."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lwd_core.rl.vla.checkpoint import VlaFolder
from lwd_core.rl.vla.model import TowerModel

GOLDENS = Path(__file__).parent / "goldens"
KINDS = ("pi0", "pi05", "smolvla")
INSTRUCTIONS = ["pick up the cup", "open_the drawer\nnow ", "push"]


@cache
def folder(kind: str) -> VlaFolder:
    return VlaFolder.open(GOLDENS / kind)


@cache
def model(kind: str) -> TowerModel:
    return folder(kind).model()


@cache
def golden(kind: str) -> dict[str, Tensor]:
    with np.load(GOLDENS / kind / "golden.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def pictures(kind: str) -> dict[str, Tensor]:
    """Of the cameras that were there: (B, h, w, 3) u8."""
    cameras = folder(kind).config.cameras
    return {c: golden(kind)[f"picture_{c}"] for c in cameras if f"picture_{c}" in golden(kind)}
