"""A checkpoint's units: raw numbers to those its network sees, and its actions back."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.rl.vla.config import ACTION, STATE, Units, VlaConfig

EPS = 1e-8  # LeRobot's
_NEEDED: dict[Units, tuple[str, ...]] = {
    "mean_std": ("mean", "std"),
    "quantiles": ("q01", "q99"),
    "quantile10": ("q10", "q90"),
    "min_max": ("min", "max"),
    "identity": (),
}
