"""A vision-language-action network's kind, shapes and units."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import PositiveInt, TypeAdapter, ValidationError

from lwd_core.config_file import faults
from lwd_core.rl.vla.sizes import Sizes

Kind = Literal["smolvla", "pi0", "pi05"]
Units = Literal["mean_std", "quantiles", "quantile10", "min_max", "identity"]

IMAGES, STATE, ACTION = "observation.images.", "observation.state", "action"
CONFIG = "config.json"


@dataclass(frozen=True)
class VlaConfig:
    """A vision-language-action network.

    chunk: H, action steps it says at once. action_dim, state_dim: the padded widths its layers have;
    real_action_dim, real_state_dim: how many of them it was trained on. cameras: names without LeRobot's
    prefix, in the order pictures come in. height, width: pixels it sees. prompt_length: tokens of a prompt at
    most. steps: Euler steps it acts with by itself. min_period, max_period: of the embedding of its time.
    state_units, action_units: what its numbers are normalised by. self_attention_every: SmolVLA's expert
    attends to itself in every so manieth layer and to the backbone in the others; 0 for to itself in none, 1
    in all.
    """

    kind: Kind
    chunk: PositiveInt
    action_dim: PositiveInt
    real_action_dim: PositiveInt
    state_dim: PositiveInt
    real_state_dim: PositiveInt
    cameras: tuple[str, ...]
    height: PositiveInt
    width: PositiveInt
    prompt_length: PositiveInt
    sizes: Sizes
    steps: PositiveInt = 10
    min_period: float = 4e-3
    max_period: float = 4.0
    state_units: Units = "mean_std"
    action_units: Units = "mean_std"
    self_attention_every: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "VlaConfig":
        """Inverse of `to_dict`; ValueError names a wrong field."""
        try:
            return TypeAdapter(cls).validate_python(value)
        except ValidationError as error:
            raise ValueError(faults(error, "vla")) from error
