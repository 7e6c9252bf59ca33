"""A flow expert of our own on the last hidden states of any vision-language model.

Its layers attend to what the model made of pictures and words, to the state and to the actions among
themselves.
"""

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.rl.vla.layers import Stack, attend_along, time_embedding, turn_at
from lwd_core.rl.vla.sizes import StackSizes

MIN_PERIOD, MAX_PERIOD = 4e-3, 4.0  # as pi0's


@dataclass(frozen=True)
class HiddenExpertConfig:
    """context: numbers of a hidden state; action_dim, state_dim: numbers it says and sees; the rest as in
    `StackSizes`."""

    context: PositiveInt
    action_dim: PositiveInt
    state_dim: PositiveInt
    width: PositiveInt
    layers: PositiveInt
    heads: PositiveInt

    @property
    def sizes(self) -> StackSizes:
        """Of its layers."""
        return StackSizes(
            self.width, 4 * self.width, self.layers, self.heads, self.heads, self.width // self.heads
        )


@dataclass(frozen=True)
class HiddenPrefix:
    """What a vision-language model made of B observations: its last hidden states (B, P, W), and where they
    count (B, P) bool."""

    tokens: Tensor
    present: Tensor


class HiddenExpert(nn.Module):
    """A `Denoiser` whose prefix is a `HiddenPrefix`."""

    def __init__(self, config: HiddenExpertConfig):
        super().__init__()
        self.config, width = config, config.width
        self.context = nn.Linear(config.context, width)
        self.expert = Stack(config.sizes, "llama")
        self.state_proj = nn.Linear(config.state_dim, width)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)

    def denoise(self, prefix: HiddenPrefix, state: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """See `VlaModel.denoise`."""
        config, dtype = self.config, self.action_in_proj.weight.dtype
        context = self.context(prefix.tokens.to(dtype))
        action = self.action_in_proj(x.to(dtype))
        time = time_embedding(t, config.width, MIN_PERIOD, MAX_PERIOD).to(dtype)
        both = torch.cat([action, time.unsqueeze(1).expand_as(action)], -1)
        action = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))
        z = torch.cat([self.state_proj(state.to(dtype)).unsqueeze(1), action], 1)

        steps, seen = z.shape[1], prefix.present
        places = torch.arange(steps, device=z.device).unsqueeze(0)
        own = turn_at(seen.sum(1, keepdim=True) + places, config.sizes.head_dim)
        theirs = turn_at(seen.cumsum(1) - 1, config.sizes.head_dim)
        mask = F.pad(seen[:, None, None, :], (0, steps), value=True)
        for layer in self.expert.each():
            keys, values = layer.self_attn.keys_values(layer.input_layernorm(context), theirs)
            z = attend_along(layer, z, keys, values, mask, *own)
        return self.action_out_proj(self.expert.norm(z[:, 1:]))
