"""The second form: any vision-language model that transformers reads from a folder, with a flow expert of our
own.

The model never learns and runs once for an observation; the expert's layers attend to its last hidden states,
to the state and to the actions among themselves. Prompts and pictures are the model's own processor's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.errors import UserError
from lwd_core.rl.vla.layers import Stack, attend_along, time_embedding, turn_at
from lwd_core.rl.vla.model import VlaAt, pad_state
from lwd_core.rl.vla.sizes import StackSizes

MIN_PERIOD, MAX_PERIOD = 4e-3, 4.0  # as pi0's


@dataclass(frozen=True)
class GenericConfig:
    """Shape of the expert: chunk: H; action_dim, state_dim: numbers it says and sees; the rest as in
    `StackSizes`."""

    chunk: PositiveInt
    action_dim: PositiveInt
    state_dim: PositiveInt
    width: PositiveInt = 512
    layers: PositiveInt = 8
    heads: PositiveInt = 8

    @property
    def sizes(self) -> StackSizes:
        """Of its layers."""
        return StackSizes(
            self.width, 4 * self.width, self.layers, self.heads, self.heads, self.width // self.heads
        )


@dataclass(frozen=True)
class HiddenPrefix:
    """What a vision-language model made of B observations: its last hidden states (B, P, W), and where they
    count."""

    tokens: Tensor
    present: Tensor


class GenericVla(nn.Module):
    """``backbone``: a transformers model with ``last_hidden_state`` of ``width`` numbers a token."""

    def __init__(self, backbone: nn.Module, width: int, config: GenericConfig):
        super().__init__()
        if config.width % (2 * config.heads):
            raise ValueError(f"width {config.width}: not {config.heads} heads of an even number")
        self.config = config
        self.vlm = backbone.requires_grad_(False).eval()
        self.context = nn.Linear(width, config.width)
        self.expert = Stack(config.sizes, "llama")
        self.state_proj = nn.Linear(config.state_dim, config.width)
        self.action_in_proj = nn.Linear(config.action_dim, config.width)
        self.action_time_mlp_in = nn.Linear(2 * config.width, config.width)
        self.action_time_mlp_out = nn.Linear(config.width, config.width)
        self.action_out_proj = nn.Linear(config.width, config.action_dim)

    @classmethod
    def open(cls, folder: str | Path, config: GenericConfig) -> "GenericVla":
        """With the model in a local folder; nothing is downloaded, no code of the folder's is run, and
        pickles are refused. `UserError` for what transformers can't read."""
        from transformers import AutoModel  # not all that learn have it

        if not (Path(folder) / "config.json").is_file():
            raise UserError(f"{folder}: no config.json; give a transformers model's folder")
        try:
            vlm = cast(Any, AutoModel).from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
            width = int(vlm.config.get_text_config().hidden_size)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UserError(
                f"{folder}: no vision-language model that transformers reads ({error})"
            ) from error
        return cls(vlm, width, config)

    def train(self, mode: bool = True) -> "GenericVla":
        """The model stays as it is."""
        super().train(mode)
        self.vlm.eval()
        return self

    @property
    def width(self) -> int:
        """A, numbers of a flattened chunk."""
        return self.config.chunk * self.config.action_dim

    @torch.no_grad()
    def prefix(self, inputs: Mapping[str, Tensor]) -> HiddenPrefix:
        """Run the model on what its processor makes: ``input_ids``, ``attention_mask`` (B, P), pictures."""
        tokens: Tensor = self.vlm(**inputs).last_hidden_state
        return HiddenPrefix(tokens, inputs["attention_mask"].bool())

    def at(self, prefix: HiddenPrefix, state: Tensor) -> VlaAt:
        """The flow for the observations of a prefix; state: (B, ≤ state_dim)."""
        return VlaAt(self, prefix, pad_state(state, self.config.state_dim))

    def expert_parameters(self) -> Iterator[nn.Parameter]:
        """What learns."""
        backbone = {id(p) for p in self.vlm.parameters()}
        return (p for p in self.parameters() if id(p) not in backbone)

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """What does not."""
        return self.vlm.parameters()

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
