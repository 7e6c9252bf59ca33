"""Networks: MLP stacks, the velocity field of the policy, the critics.

Everything acts on normalised states, on actions scaled to [-1, 1] and flattened to H·D, and on
frozen sentence embeddings of the instruction. Layout follows QAM's released networks: tanh GELU,
xavier-uniform weights, zero biases, raw scalar flow time, LayerNorm after the activation in
critics only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.rl.chosen import LATER
from lwd_core.rl.encoders import EncoderConfig, Observation, new_encoder, xavier

LAYER_NORM_EPS = 1e-6  # flax's default, which QAM uses


@dataclass(frozen=True)
class FieldConfig:
    """Shape of the policy's velocity field; defaults are the demo's size."""

    encoder: EncoderConfig
    action_dim: int
    chunk: int
    hidden: int = 256
    layers: int = 3


@dataclass(frozen=True)
class CriticShape:
    """The free part of a critic's shape. ``trunk_layers`` hidden layers are shared by Q and V, the rest is
    each head's own; ``heads`` are Q's. ``zero_q``: an untrained Q is 0 everywhere, and not of the order of 1;
    what a Q of rewards of 1 at the end can't unlearn where few of them are (docs/ogbench.md)."""

    hidden: PositiveInt = 256
    layers: PositiveInt = 3
    trunk_layers: NonNegativeInt = 0
    heads: PositiveInt = 2
    instruction_features: NonNegativeInt = 32
    zero_q: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True)
class CriticConfig:
    """Shape of Q and V. ``atoms`` is the width of V's output; 0 leaves V out."""

    encoder: EncoderConfig
    action_dim: int
    chunk: int
    hidden: int = 256
    layers: int = 3
    trunk_layers: int = 0
    heads: int = 2
    atoms: int = 201

    @staticmethod
    def of(
        shape: CriticShape, encoder: EncoderConfig, action_dim: int, chunk: int, atoms: int
    ) -> "CriticConfig":
        """With the rest taken from the policy."""
        return CriticConfig(
            encoder, action_dim, chunk, shape.hidden, shape.layers, shape.trunk_layers, shape.heads, atoms
        )


class VelocityField(nn.Module):
    """f(s, x, w): velocity of a flattened action chunk x (…, B, H·D) at flow time w in [0, 1].

    The first layer is split in three: what the observation adds to it is the same along the whole
    flow, so `at` computes it once. The encoder and that part are the trunk; the rest is the
    action expert.
    """

    def __init__(self, config: FieldConfig):
        super().__init__()
        self.config = config
        self.width = config.chunk * config.action_dim
        self.encoder = new_encoder(config.encoder)
        self.context = nn.Linear(self.encoder.width, config.hidden)
        self.action_in = nn.Linear(self.width, config.hidden, bias=False)
        self.time_in = nn.Parameter(torch.empty(config.hidden))
        self.hidden = nn.ModuleList(
            xavier(nn.Linear(config.hidden, config.hidden)) for _ in range(config.layers - 1)
        )
        self.out = xavier(nn.Linear(config.hidden, self.width))
        # the three parts together are initialised as the one layer they are
        bound = math.sqrt(6 / (self.encoder.width + self.width + 1 + config.hidden))
        for weight in (self.context.weight, self.action_in.weight, self.time_in):
            nn.init.uniform_(weight, -bound, bound)
        nn.init.zeros_(self.context.bias)

    def trunk(self) -> list[nn.Parameter]:
        """Parameters frozen when only the action expert learns."""
        return [*self.encoder.parameters(), *self.context.parameters()]

    def at(self, observation: Observation) -> "VelocityAt":
        """The field for a batch of observations."""
        return VelocityAt(self, self.context(self.encoder(observation)))

    def forward(self, observation: Observation, x: Tensor, w: Tensor | float) -> Tensor:
        """x: (…, B, H·D); w: a number or a tensor that broadcasts to (…, B, 1)."""
        return self.at(observation).velocity(x, w)


@dataclass(frozen=True)
class VelocityAt:
    """A velocity field whose observations are in ``context`` (B, h), their share of the first layer."""

    field: VelocityField
    context: Tensor

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """Velocities (…, B, A) at x (…, B, A); w: a number or a tensor that broadcasts to (…, B, 1)."""
        field = self.field
        z = field.action_in(x) + (self.context + (w * field.time_in).to(self.context.dtype))
        for layer in field.hidden:
            z = layer(gelu(z))
        return field.out(gelu(z)).to(x.dtype)


class StackedMLP(nn.Module):
    """N independent MLPs evaluated by one batched product per layer: (B, in) -> (N, B, out)."""

    def __init__(self, sizes: Sequence[int], stack: int):
        super().__init__()
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(_xavier_stack(stack, a, b) for a, b in pairs)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(stack, 1, b)) for _, b in pairs)
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(stack, 1, b)) for _, b in pairs[:-1])
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(stack, 1, b)) for _, b in pairs[:-1])

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """frozen: the gradient goes to x alone."""
        weights, biases, scales, shifts = (
            [w.detach() if frozen else w for w in part]
            for part in (self.weights, self.biases, self.scales, self.shifts)
        )
        z = x.expand(len(weights[0]), *x.shape)
        for weight, bias, scale, shift in zip(weights, biases, scales, shifts, strict=False):
            z = gelu(torch.baddbmm(bias, z, weight))
            z = torch.addcmul(shift, F.layer_norm(z, z.shape[-1:], eps=LAYER_NORM_EPS), scale)
        return torch.baddbmm(biases[-1], z, weights[-1])


class Critic(nn.Module):
    """Twin (or N) scalar Q heads and one categorical V over a shared trunk that the policy never sees."""

    def __init__(self, config: CriticConfig):
        super().__init__()
        self.config = config
        self.encoder = new_encoder(config.encoder)
        self.trunk = nn.ModuleList()
        width = self.encoder.width
        for _ in range(config.trunk_layers):
            norm = nn.LayerNorm(config.hidden, eps=LAYER_NORM_EPS)
            self.trunk.append(nn.Sequential(xavier(nn.Linear(width, config.hidden)), nn.GELU("tanh"), norm))
            width = config.hidden
        own = [config.hidden] * (config.layers - config.trunk_layers)
        self.q_heads = StackedMLP([width + config.chunk * config.action_dim, *own, 1], config.heads)
        self.v_head = StackedMLP([width, *own, config.atoms], 1) if config.atoms else nn.Identity()

    def zero_q(self) -> "Critic":
        """Itself, with a Q of 0 everywhere; what lies under the heads' last layer stays as it is."""
        for last in (self.q_heads.weights[-1], self.q_heads.biases[-1]):
            nn.init.zeros_(last)
        return self

    def features(self, observation: Observation) -> Tensor:
        """What Q and V share: (B, F)."""
        z = self.encoder(observation)
        for layer in self.trunk:
            z = layer(z)
        return z

    def q(self, features: Tensor, action: Tensor, frozen: bool = False) -> Tensor:
        """Q of flattened, masked chunks (…, B, H·D): (heads, …, B). frozen: the gradient goes past the heads'
        weights."""
        seen = features.expand(*action.shape[:-1], -1)
        values = self.q_heads(torch.cat([seen, action], -1).flatten(0, -2), frozen)
        return values.view(-1, *action.shape[:-1]).to(action.dtype)

    def v(self, features: Tensor) -> Tensor:
        """Logits over the support's atoms: (B, atoms)."""
        return self.v_head(features).squeeze(0).to(features.dtype)

    def shared(self) -> list[nn.Parameter]:
        """Parameters both Q's and V's losses move."""
        return [*self.encoder.parameters(), *self.trunk.parameters()]


def gelu(z: Tensor) -> Tensor:
    """In its tanh form."""
    return F.gelu(z, approximate="tanh")


def _xavier_stack(stack: int, fan_in: int, fan_out: int) -> nn.Parameter:
    bound = math.sqrt(6 / (fan_in + fan_out))
    return nn.Parameter(torch.empty(stack, fan_in, fan_out).uniform_(-bound, bound))
