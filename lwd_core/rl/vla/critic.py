"""A critic's eyes beside a VLA policy: the frozen picture tower of the policy's own checkpoint.

    critic: {backbone: {kind: siglip}}
    critic: {backbone: {kind: gemma, width: 640, layers: 18}}

What the tower makes of a batch's pictures is computed once for critic and policy. By ``siglip`` each action
of a chunk asks the pictures' tokens for what concerns it (attention); the answers' mean is what Q sees of
them; V asks as the chunk of zeros does. By ``gemma`` a language model of Gemma's kind, which learns, reads
pictures, instruction and state, as LWD's critic does (Gemma 3 270M); it begins with random weights.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.errors import UserError
from lwd_core.rl.chosen import Chosen, chosen_by
from lwd_core.rl.encoders import Backbone, ChunkEncoder, EncoderConfig, Observation, ProprioEncoder, xavier
from lwd_core.rl.fields import FIELDS, FieldKind
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.vla.base import base_of
from lwd_core.rl.vla.kind import Vla
from lwd_core.rl.vla.layers import Stack, attend, turn_at
from lwd_core.rl.vla.model import TowerModel
from lwd_core.rl.vla.sizes import StackSizes


@dataclass(frozen=True)
class TowerEyes(Backbone):
    """of and chunk are filled in: the policy beside, and how its actions are shaped, (H, W)."""

    of: Annotated[Chosen[FieldKind] | None, chosen_by(FIELDS, None, addresses=False)] = None
    chunk: tuple[int, int] = field(default=(0, 0))

    def beside(self, policy: FieldConfig) -> "TowerEyes":
        return replace(self, of=policy.kind, chunk=(policy.chunk, policy.width))

    @property
    def policy(self) -> Vla:
        """The one whose tower it is."""
        if self.of is None or not isinstance(self.of.made, Vla):
            raise UserError("critic.backbone: it sees by the tower of a VLA policy, and this policy is none")
        return self.of.made


@dataclass(frozen=True)
class Siglip(TowerEyes):
    """``width`` of the tokens that are attended to, ``heads`` by which."""

    width: PositiveInt = 128
    heads: PositiveInt = 4

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError("heads: they share the width evenly; make it a multiple")

    def encoder(self, config: EncoderConfig) -> "SiglipEncoder":
        return SiglipEncoder(config, self)


@dataclass(frozen=True)
class Gemma(TowerEyes):
    """Sizes of the language model, of Gemma 3 270M by default; ``hidden`` of its MLPs."""

    width: PositiveInt = 640
    hidden: PositiveInt = 2048
    layers: PositiveInt = 18
    heads: PositiveInt = 4
    kv_heads: PositiveInt = 1
    head_dim: PositiveInt = 256

    def encoder(self, config: EncoderConfig) -> "GemmaEncoder":
        return GemmaEncoder(config, self)


class Tower(nn.Module):
    """The frozen tower that all share; belongs to no state dict."""

    network: TowerModel  # no child

    def __init__(self, policy: Vla):
        super().__init__()
        self.policy, self.base = policy, base_of(policy)
        vars(self)["network"] = self.base.frozen()
        self.width = self.base.folder.config.sizes.text.width

    @torch.no_grad()
    def forward(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Tokens of all pictures (B, C·N, W) f32, and which are there (B, C·N) bool."""
        images, mask = self.base.images(self.policy, observation)
        tokens = self.network.look(images).float()
        return tokens.flatten(1, 2), mask.unsqueeze(-1).expand(tokens.shape[:3]).flatten(1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Tower":
        self.network._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        return super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tower":
        memo |= {id(tensor): tensor for tensor in (*self.network.parameters(), *self.network.buffers())}
        copied = Tower.__new__(Tower)
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied


class SiglipEncoder(ChunkEncoder):
    """States, instruction, and the tokens of all pictures."""

    def __init__(self, config: EncoderConfig, shape: Siglip):
        super().__init__()
        self.tower, self.shape = Tower(shape.policy), shape
        self.proprio = ProprioEncoder(config)
        self.width = self.proprio.width + shape.width
        chunk, width = shape.chunk
        self.seen = xavier(nn.Linear(self.tower.width, shape.width))
        self.norm = nn.LayerNorm(shape.width)
        self.asked = xavier(nn.Linear(width, shape.width))
        self.step = nn.Parameter(torch.randn(chunk, shape.width) * 0.02)
        self.keys = xavier(nn.Linear(shape.width, 2 * shape.width))

    @property
    def project(self) -> nn.Linear | None:
        return self.proprio.project

    def forward(self, observation: Observation) -> Tensor:
        """Proprioception, then whether each token is there, then the tokens: (B, P + C·N·(1 + width))."""
        tokens, there = self.tower(observation)
        seen = self.norm(self.seen(tokens)).to(observation.state.dtype)
        return torch.cat([self.proprio(observation), there.to(seen.dtype), seen.flatten(1)], -1)

    def facing(self, features: Tensor, action: Tensor | None) -> Tensor:
        proprio, width = self.proprio.width, self.shape.width
        count = (features.shape[-1] - proprio) // (1 + width)
        own, there = features[:, :proprio], features[:, proprio : proprio + count]
        tokens = features[:, proprio + count :]
        chunk, numbers = self.shape.chunk
        if action is None:
            action = features.new_zeros(len(features), chunk * numbers)
        queries = self.asked(action.unflatten(-1, (chunk, numbers))) + self.step
        keys, values = self.keys(tokens.unflatten(-1, (count, width))).chunk(2, -1)
        heads = [
            z.unflatten(-1, (self.shape.heads, -1)).transpose(-2, -3).to(queries.dtype)
            for z in (queries, keys, values)
        ]
        leading = action.shape[:-1]
        q, k, v = heads[0], *(z.expand(*leading, *z.shape[1:]) for z in heads[1:])
        some = there.amax(-1, keepdim=True) > 0.5
        mask = ((there > 0.5) | ~some)[:, None, None, :].expand(*leading, 1, 1, count)
        pooled = (
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(-2, -3).flatten(-2).mean(-2)
        )
        pooled = torch.where(some, pooled, 0.0)  # without one picture there is nothing to attend to
        return torch.cat([own.expand(*leading, -1), pooled.to(own.dtype)], -1)


class GemmaEncoder(nn.Module):
    """What the language model makes of [pictures; instruction; state] at the state, (B, width)."""

    def __init__(self, config: EncoderConfig, shape: Gemma):
        super().__init__()
        self.tower, self.width = Tower(shape.policy), shape.width
        self.seen = xavier(nn.Linear(self.tower.width, shape.width))
        self.instruction = xavier(nn.Linear(config.instruction_dim, shape.width))
        self.state = xavier(nn.Linear(config.state_dim, shape.width))
        sizes = StackSizes(
            shape.width, shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.head_dim
        )
        self.text = Stack(sizes, "gemma")

    @property
    def project(self) -> nn.Linear | None:
        return self.instruction

    def forward(self, observation: Observation) -> Tensor:
        """Each sees all that are there."""
        tokens, there = self.tower(observation)
        told = [self.instruction(observation.instruction), self.state(observation.state)]
        z = torch.cat([self.seen(tokens), *(one.unsqueeze(1) for one in told)], 1)
        present = torch.cat([there, torch.ones_like(there[:, :1]).expand(-1, len(told))], 1)
        turn = turn_at(present.cumsum(1) - 1, self.text.sizes.head_dim)
        for layer in self.text.each():
            pair = layer.self_attn.keys_values(layer.input_layernorm(z), turn)
            z = attend(layer, z, *pair, present[:, None, None, :], *turn)
        return self.text.norm(z[:, -1]).to(observation.state.dtype)
