"""A LeRobot policy's folder: what is read of it, and what is refused.

config.json                                  kind, shapes, units; see `config`
model.safetensors                            every tensor; see `weights`
policy_preprocessor*.safetensors             statistics; see `statistics`
tokenizer.json                               not of LeRobot's making: the user gives it; see `prompt`
sizes.json, <vlm_model_name>/config.json     sizes of a network that has no name; see `sizes`
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lwd_core.errors import UserError
from lwd_core.rl.vla import weights
from lwd_core.rl.vla.config import CONFIG, VlaConfig
from lwd_core.rl.vla.config_json import read_config
from lwd_core.rl.vla.model import TowerModel
from lwd_core.rl.vla.pi import PiModel
from lwd_core.rl.vla.prompt import Prompter, StatePrompt, read_prompter
from lwd_core.rl.vla.runs import policy_folder
from lwd_core.rl.vla.sizes import Sizes
from lwd_core.rl.vla.smolvla import SmolVlaModel
from lwd_core.rl.vla.statistics import VlaStatistics
from lwd_core.rl.vla.vision import PositionIds

TOKENIZER = "tokenizer.json"
_SKEWED = ((4, 55), (4, 57))  # versions of transformers, first and last


@dataclass(frozen=True)
class VlaFolder:
    """A checkpoint that can be learned from and acted with; `open` has looked at all but the tensors'
    numbers.

    keys: the weights' key of each of our parameters. position_ids: see `PictureTower`.
    """

    path: Path
    config: VlaConfig
    position_ids: PositionIds
    state_prompt: StatePrompt
    tokenizer: Path
    statistics: VlaStatistics = field(repr=False, compare=False)
    prompter: Prompter = field(repr=False, compare=False)
    keys: dict[str, str] = field(repr=False, compare=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        tokenizer: str | Path | None = None,
        position_ids: PositionIds | None = None,
        statistics: VlaStatistics | None = None,
        sizes: Sizes | None = None,
        state_prompt: StatePrompt | None = None,
    ) -> "VlaFolder":
        """Look into a folder; `UserError` names file, key and remedy.

        tokenizer: where tokenizer.json isn't in the folder. position_ids: needed for a SmolVLA whose folder
        does not tell, or tells of a version of transformers that numbers them otherwise. statistics, sizes:
        in the place of the folder's.
        """
        path = policy_folder(Path(path))
        config = read_config(path, sizes)
        chosen = _position_ids(path, config, position_ids)
        expected = dict(_of_no_numbers(path, config, chosen).named_parameters())
        keys = weights.checked(path / weights.WEIGHTS, config.kind, expected)
        told = _state_prompt(path, config, state_prompt)
        saved = next((f for f in (path / TOKENIZER, path / "tokenizer" / TOKENIZER) if f.is_file()), None)
        file = saved or path / TOKENIZER if tokenizer is None else Path(tokenizer)
        prompter = read_prompter(file, config, told)
        return cls(
            path,
            config,
            chosen,
            told,
            file,
            statistics or VlaStatistics.read(path, config),
            prompter,
            keys,
        )

    @property
    def weights(self) -> Path:
        """The file of the tensors."""
        return self.path / weights.WEIGHTS

    @cached_property
    def digests(self) -> dict[str, str]:
        """sha256 of weights, tokenizer and what the configuration says: what a release names its base by."""
        said = json.dumps(self.config.to_dict(), sort_keys=True).encode()
        return {
            "weights": digest(self.weights),
            "config": hashlib.sha256(said).hexdigest(),
            "tokenizer": digest(self.tokenizer),
        }

    def model(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> TowerModel:
        """The network with the folder's weights."""
        model = new_model(self.config, self.position_ids, "meta").to(dtype).to_empty(device=device)
        weights.load(self.weights, self.config.kind, model, self.keys)
        return model


def new_model(
    config: VlaConfig, position_ids: PositionIds = "exact", device: torch.device | str = "cpu"
) -> TowerModel:
    """A network of random weights; on "meta" of none."""
    with torch.device(device):
        return SmolVlaModel(config, position_ids) if config.kind == "smolvla" else PiModel(config)


def _of_no_numbers(path: Path, config: VlaConfig, position_ids: PositionIds) -> TowerModel:
    """The network to look at; `UserError` for one whose bytes nobody could count."""
    try:
        return new_model(config, position_ids, "meta")
    except (RuntimeError, TypeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(
            f"{path / CONFIG}: no network is as large as it says ({line}); give the config.json (and sizes) "
            "that it was trained with"
        ) from error


def digest(file: Path) -> str:
    """sha256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _position_ids(path: Path, config: VlaConfig, chosen: PositionIds | None) -> PositionIds:
    """Which rule a checkpoint was trained by."""
    if config.kind != "smolvla":
        if chosen == "skewed":
            raise UserError(f"{path}: position_ids: skewed is of SmolVLA alone, and this is a {config.kind}")
        return "exact"
    if chosen is not None:
        return chosen
    version = _transformers(path)
    told = (
        f"trained with transformers {version}"
        if version
        else "which transformers it was trained with is not told"
    )
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or _SKEWED[0] <= tuple(map(int, found.groups())) <= _SKEWED[1]:
        raise UserError(
            f"{path}: {told}; 4.55 to 4.57 number a picture's patches otherwise in float32, and the wrong "
            "choice "
            "spoils what it sees without a word. Choose position_ids: skewed if it was trained in float32 "
            "by one of "
            "those, else exact"
        )
    return "exact"


def _state_prompt(path: Path, config: VlaConfig, chosen: StatePrompt | None) -> StatePrompt:
    """How pi0.5's prompts were made: LeRobot's before 0.5 told padded states, and a folder doesn't say
    which."""
    if config.kind != "pi05" or chosen is not None or config.real_state_dim == config.state_dim:
        return chosen or "real"
    said = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    if (
        "n_obs_steps" in said and "use_relative_actions" not in said
    ):  # the first is LeRobot's, the second 0.5.1's
        raise UserError(
            f"{path / CONFIG}: saved by a LeRobot before 0.5.1, which doesn't tell how a state stands in the "
            f"prompt. Choose state_prompt: padded (all {config.state_dim} numbers) if it was trained with "
            "LeRobot 0.4, "
            f"real ({config.real_state_dim}) if with 0.5 or openpi"
        )
    return "real"


def _transformers(path: Path) -> str:
    """The version that a SmolVLA's own model folder names; empty without one."""
    name = json.loads((path / CONFIG).read_text(encoding="utf-8")).get("vlm_model_name")
    file = path / str(name) / "config.json"
    if not name or not file.is_file():
        return ""
    value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return str(value.get("transformers_version", ""))
