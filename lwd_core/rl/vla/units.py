"""A checkpoint's units and words around the lake's: what goes in and comes out of a VLA policy."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.fields import PolicyUnits
from lwd_core.rl.vla.prompt import Prompter
from lwd_core.rl.vla.statistics import VlaStatistics


class VlaUnits(PolicyUnits):
    """By a checkpoint's statistics, padded to its widths; actions come back within limits in raw units."""

    noise_in_padding: ClassVar[bool] = True
    low: Tensor
    high: Tensor

    def __init__(self, statistics: VlaStatistics, prompter: Prompter, width: int, low: Tensor, high: Tensor):
        """low, high: (D,) raw; width: W, of padded actions."""
        super().__init__()
        self.statistics, self.prompter, self.width = statistics, prompter, width
        self.register_buffer("low", low.detach().clone().float())
        self.register_buffer("high", high.detach().clone().float())

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
        copied = VlaUnits(self.statistics, self.prompter, self.width, self.low, self.high)
        copied.statistics = VlaStatistics(
            self.statistics.state_units,
            (self.statistics.state_first, self.statistics.state_second),
            self.statistics.action_units,
            (self.statistics.action_first, self.statistics.action_second),
        )
        memo[id(self)] = copied
        return copied
