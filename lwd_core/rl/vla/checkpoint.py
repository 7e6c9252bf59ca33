"""A LeRobot policy's folder: what is read of it, and what is refused.

    config.json                                  kind, shapes, units; see `config`
    model.safetensors                            every tensor
    policy_preprocessor*.safetensors             statistics; see `statistics`
    tokenizer.json                               not of LeRobot's making: the user gives it
    sizes.json, <vlm_model_name>/config.json     sizes of a network that has no name; see `sizes`

Pickles are refused, whatever they hold: reading one runs it.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from lwd_core.rl.vla.config import CONFIG, Kind, VlaConfig
from lwd_core.rl.vla.model import VlaModel
from lwd_core.rl.vla.prompt import Prompter
from lwd_core.rl.vla.sizes import Sizes
from lwd_core.rl.vla.statistics import VlaStatistics
from lwd_core.rl.vla.vision import PositionIds

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"

_PALIGEMMA = "paligemma_with_expert.paligemma."
_SMOLVLM = "vlm_with_expert.vlm."
_PI_PREFIXES = {
    "vision.": _PALIGEMMA + "model.vision_tower.vision_model.",
    "projector.": _PALIGEMMA + "model.multi_modal_projector.linear.",
    "text.": _PALIGEMMA + "model.language_model.",
    "expert.": "paligemma_with_expert.gemma_expert.model.",
}
#: Our modules' names, and a checkpoint's behind its "model."; what has none here is called the same.
PREFIXES: dict[Kind, dict[str, str]] = {
    "pi0": _PI_PREFIXES,
    "pi05": _PI_PREFIXES,
    "smolvla": {
        "vision.": _SMOLVLM + "model.vision_model.",
        "projector.": _SMOLVLM + "model.connector.modality_projection.proj.",
        "text.": _SMOLVLM + "model.text_model.",
        "expert.": "vlm_with_expert.lm_expert.",
    },
}
#: What is in the file and computes nothing here: heads that say words.
SILENT = (
    _PALIGEMMA + "lm_head.weight",
    "paligemma_with_expert.gemma_expert.lm_head.weight",
    _SMOLVLM + "lm_head.weight",
)
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def to_checkpoint(kind: Kind, name: str) -> str:
    """A parameter's name in a checkpoint."""
    for ours, theirs in PREFIXES[kind].items():
        if name.startswith(ours):
            return "model." + theirs + name.removeprefix(ours)
    return "model." + name


def digest(file: Path) -> str:
    """sha256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True)
class VlaFolder:
    """A checkpoint that can be learned from and acted with; `open` has looked at all but the tensors' numbers.

    position_ids: see `PictureTower`. tokenizer_file: the one that was given.
    """

    path: Path
    config: VlaConfig
    statistics: VlaStatistics
    tokenizer_file: Path
    position_ids: PositionIds = "exact"
    prompter: Prompter = field(repr=False, compare=False, kw_only=True)

    @classmethod
    def open(
        cls,
        path: Path,
        tokenizer: Path | None = None,
        position_ids: PositionIds | None = None,
        statistics: VlaStatistics | None = None,
        sizes: Sizes | None = None,
    ) -> "VlaFolder":
        """Look into a folder; `UserError` names file, key and remedy.

        tokenizer: where tokenizer.json isn't in the folder. position_ids: needed for a SmolVLA whose folder does
        not tell which version of transformers it was trained with. statistics: in the place of the folder's.
        """
        raise NotImplementedError

    @cached_property
    def digests(self) -> dict[str, str]:
        """sha256 of weights, configuration and tokenizer: what a release names its base by."""
        files = {
            "weights": self.path / WEIGHTS,
            "config": self.path / CONFIG,
            "tokenizer": self.tokenizer_file,
        }
        return {name: digest(file) for name, file in files.items()}

    def model(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> VlaModel:
        """The network with the folder's weights."""
        raise NotImplementedError
