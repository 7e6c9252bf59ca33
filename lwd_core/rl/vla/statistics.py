"""A checkpoint's units: raw numbers to those its network sees, and its actions back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.rl.vla.config import ACTION, STATE, Units, VlaConfig

EPS = 1e-8  # LeRobot's
READ_FROM, ALSO_IN = "policy_preprocessor*.safetensors", "policy_postprocessor*.safetensors"
PROCESSOR = "policy_preprocessor.json"
NEEDED: dict[Units, tuple[str, ...]] = {
    "mean_std": ("mean", "std"),
    "quantiles": ("q01", "q99"),
    "quantile10": ("q10", "q90"),
    "min_max": ("min", "max"),
    "identity": (),
}


class VlaStatistics(nn.Module):
    """Numbers of the real dims by mean and deviation, or from a low and a high to [-1, 1], as LeRobot does
    it.

    For ``mean_std`` first and second are mean and deviation, else low and high; (S,) and (D,) f32. Nothing is
    bounded, neither way.
    """

    state_first: Tensor
    state_second: Tensor
    action_first: Tensor
    action_second: Tensor

    def __init__(
        self,
        state_units: Units,
        state: tuple[Tensor, Tensor],
        action_units: Units,
        action: tuple[Tensor, Tensor],
    ):
        super().__init__()
        self.state_units: Units = state_units
        self.action_units: Units = action_units
        for name, pair in (("state", state), ("action", action)):
            for order, value in zip(("first", "second"), pair, strict=True):
                self.register_buffer(f"{name}_{order}", value.detach().clone().float())

    @classmethod
    def identity(cls, config: VlaConfig) -> "VlaStatistics":
        """Of a network that sees raw numbers."""
        state, action = torch.zeros(config.real_state_dim), torch.zeros(config.real_action_dim)
        return cls("identity", (state, state + 1), "identity", (action, action + 1))

    @classmethod
    def of(cls, config: VlaConfig, values: Mapping[str, Tensor], where: str) -> "VlaStatistics":
        """Of values by LeRobot's names, ``observation.state.mean``; `UserError` names a missing or a bad one.

        where: what the values are of, for messages.
        """
        state = _pair(values, where, STATE, config.state_units, config.real_state_dim)
        action = _pair(values, where, ACTION, config.action_units, config.real_action_dim)
        return cls(config.state_units, state, config.action_units, action)

    @classmethod
    def read(cls, folder: Path, config: VlaConfig) -> "VlaStatistics":
        """Those of a policy's folder."""
        _same_units(folder / PROCESSOR, config)
        files = sorted(folder.glob(READ_FROM))
        if {config.state_units, config.action_units} == {"identity"} and not files:
            return cls.identity(config)
        if not files:
            raise UserError(
                f"{folder}: no {READ_FROM}: without statistics LeRobot passes raw numbers through; give a "
                "folder that was saved with its processors, or choose statistics: snapshot"
            )
        values: dict[str, Tensor] = {}
        for file in files:
            for key, value in _load(file).items():
                if key in values and not torch.equal(values[key], value):
                    raise UserError(f"{file}: {key}: other numbers than in a file beside; keep one of them")
                values[key] = value
        made = cls.of(config, values, str(files[0]))
        for file in sorted(folder.glob(ALSO_IN)):
            for key, value in _load(file).items():
                if key.startswith(f"{ACTION}.") and not torch.equal(values.get(key, value), value):
                    raise UserError(
                        f"{file}: {key}: actions would come back in other units than they were learned in "
                        f"({files[0].name}); save the two from one training run"
                    )
        return made

    def named(self) -> dict[str, Tensor]:
        """By LeRobot's names; inverse of `of`."""
        state = zip(NEEDED[self.state_units], (self.state_first, self.state_second), strict=False)
        action = zip(NEEDED[self.action_units], (self.action_first, self.action_second), strict=False)
        return {f"{STATE}.{n}": v for n, v in state} | {f"{ACTION}.{n}": v for n, v in action}

    def state(self, raw: Tensor) -> Tensor:
        """(…, S) raw to normalised."""
        return _normalised(raw, self.state_units, self.state_first, self.state_second)

    def action(self, raw: Tensor) -> Tensor:
        """(…, D) raw to normalised."""
        return _normalised(raw, self.action_units, self.action_first, self.action_second)

    def raw_action(self, action: Tensor) -> Tensor:
        """(…, D) normalised to raw."""
        first, second = self.action_first, self.action_second
        if self.action_units == "identity":
            return action
        if self.action_units == "mean_std":
            return action * second + first
        if self.action_units == "min_max":
            return (action + 1) / 2 * _span(first, second) + first
        return (action + 1.0) * _span(first, second) / 2.0 + first


def _normalised(raw: Tensor, units: Units, first: Tensor, second: Tensor) -> Tensor:
    if units == "identity":
        return raw
    if units == "mean_std":
        return (raw - first) / (second + EPS)
    return 2.0 * (raw - first) / _span(first, second) - 1.0


def _span(low: Tensor, high: Tensor) -> Tensor:
    span = high - low
    return torch.where(span == 0, EPS, span)


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return load(file.read_bytes())
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: no whole safetensors file ({error}); copy it again") from error


def _pair(
    values: Mapping[str, Tensor], where: str, key: str, units: Units, width: int
) -> tuple[Tensor, Tensor]:
    found = list[Tensor]()
    for name in NEEDED[units]:
        value = values.get(f"{key}.{name}")
        if value is None:
            near = sorted(k for k in values if k.endswith(f".{name}")) or sorted(values)
            raise UserError(
                f"{where}: no {key}.{name}, which {units.upper()} needs; there are "
                f"{', '.join(near[:4]) or 'none'}. "
                "Without it LeRobot passes raw numbers through; rename the key, or choose "
                "statistics: snapshot"
            )
        if value.numel() != width or value.dim() > 2:
            raise UserError(
                f"{where}: {key}.{name} has shape {list(value.shape)}; config.json says {width} "
                "numbers: give the two of one training run"
            )
        if not value.is_floating_point() or not value.isfinite().all():
            raise UserError(f"{where}: {key}.{name}: not all are finite numbers; save the policy anew")
        found.append(value.flatten().float())
    if not found:
        return torch.zeros(width), torch.ones(width)
    first, second = found
    if (second < (0 if units == "mean_std" else first)).any():
        low, high = NEEDED[units]
        least = "0" if units == "mean_std" else low
        raise UserError(f"{where}: {key}: {high} is below {least} in some dim; save the policy anew")
    return first, second


def _same_units(file: Path, config: VlaConfig) -> None:
    """LeRobot normalises by the processor's own map, and not by config.json's."""
    if not file.is_file():
        return
    try:
        steps = cast(list[dict[str, Any]], json.loads(file.read_text(encoding="utf-8"))["steps"])
        maps = [
            dict[str, Any](step["config"]["norm_map"])
            for step in steps
            if "norm_map" in step.get("config", {})
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file}: no processor's configuration ({error!r}); take it out, or save the policy anew"
        ) from error
    for mapping in maps:
        for name, units in (("STATE", config.state_units), ("ACTION", config.action_units)):
            theirs = str(mapping.get(name, "IDENTITY"))
            if theirs.lower() != units:
                raise UserError(
                    f"{file}: norm_map: {name} is {theirs}, but config.json's normalization_mapping says "
                    f"{units.upper()}; which one it was trained with only you know: make them agree"
                )
