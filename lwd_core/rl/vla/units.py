"""A checkpoint's units and words around the lake's: what goes in and comes out of a VLA policy."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.fields import PolicyUnits
from lwd_core.rl.places import Places, arranged, chosen
from lwd_core.rl.vla.prompt import Prompter
from lwd_core.rl.vla.statistics import VlaStatistics


class VlaUnits(PolicyUnits):
    """By a checkpoint's statistics, padded to its widths; actions come back within limits in raw units."""

    noise_in_padding: ClassVar[bool] = True
    low: Tensor
    high: Tensor

    def __init__(
        self,
        statistics: VlaStatistics,
        prompter: Prompter,
        width: int,
        low: Tensor,
        high: Tensor,
        places: Mapping[str, Places],
    ):
        """low, high: (D,) raw; width: W, of padded actions."""
        super().__init__()
        self.statistics, self.prompter, self.width, self._places = statistics, prompter, width, places
        self.register_buffer("low", low.detach().clone().float())
        self.register_buffer("high", high.detach().clone().float())

    @property
    def places(self) -> Mapping[str, Places]:
        return self._places

    def arranged(self, raw: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if not self._places:
            return raw
        return arranged(raw, self._places, middle(self.statistics, "state"), len(self.low))

    def entering(self, state: Tensor, embodiment: str = "") -> Tensor:
        if not self._places:
            return state
        whole = middle(self.statistics, "state").to(state.device).repeat(len(state), 1)
        whole[:, list(chosen(self._places, state.shape[1], embodiment).state)] = state
        return whole

    def leaving(self, action: Tensor, width: int, embodiment: str = "") -> Tensor:
        return action[..., list(chosen(self._places, width, embodiment).action)] if self._places else action

    def state(self, raw: Tensor) -> Tensor:
        return self.statistics.state(raw)

    def action(self, raw: Tensor) -> Tensor:
        return F.pad(self.statistics.action(raw), (0, self.width - raw.shape[-1]))

    def raw_action(self, action: Tensor) -> Tensor:
        raw = self.statistics.raw_action(action[..., : len(self.low)])
        return raw.clamp(self.low, self.high)

    def prompt(self, instructions: Sequence[str], state: Tensor) -> tuple[Tensor, Tensor]:
        tokens, mask = self.prompter(instructions, state)
        return tokens.to(state.device), mask.to(state.device)

    @property
    def reach(self) -> Tensor:
        """(W,): the largest a limit is in the network's units; padding knows none."""
        ends = torch.stack([self.statistics.action(end) for end in (self.low, self.high)])
        return F.pad(ends.abs().amax(0), (0, self.width - len(self.low)), value=torch.inf)

    def __deepcopy__(self, memo: dict[int, Any]) -> "VlaUnits":
        # a tokenizer is as large as its vocabulary, and nobody changes it
        copied = VlaUnits(self.statistics, self.prompter, self.width, self.low, self.high, self._places)
        copied.statistics = VlaStatistics(
            self.statistics.state_units,
            (self.statistics.state_first, self.statistics.state_second),
            self.statistics.action_units,
            (self.statistics.action_first, self.statistics.action_second),
        )
        memo[id(self)] = copied
        return copied


def middle(statistics: VlaStatistics, what: str) -> Tensor:
    """Of a "state" or an "action", in raw units: what normalises to 0."""
    first, second = (getattr(statistics, f"{what}_{which}") for which in ("first", "second"))
    units = getattr(statistics, f"{what}_units")
    if units == "identity":
        return torch.zeros_like(first)
    return first if units == "mean_std" else (first + second) / 2
