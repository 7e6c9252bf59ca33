"""Networks: MLP stacks, the velocity field of the policy, the critics.

Everything acts on normalised states, on actions scaled to [-1, 1] and flattened to H·D, and on
frozen sentence embeddings of the instruction. Layout follows QAM's released networks: tanh GELU,
xavier-uniform weights, zero biases, raw scalar flow time, LayerNorm after the activation in
critics only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.errors import UserError
from lwd_core.rl.chosen import LATER, Chosen, choose, chosen_by
from lwd_core.rl.encoders import (
    BACKBONES,
    Backbone,
    ChunkEncoder,
    EncoderConfig,
    Observation,
    new_encoder,
    xavier,
)
from lwd_core.rl.fields import FIELDS, FieldKind, PolicyField

LAYER_NORM_EPS = 1e-6  # flax's default, which QAM uses


@dataclass(frozen=True)
class FieldConfig:
    """Shape of the policy's velocity field; defaults are the demo's size.

    kind: what it is; null is the platform's own `VelocityField`, whose ``hidden``, ``layers`` and ``spread``
    these are.
    """

    encoder: EncoderConfig
    action_dim: int
    chunk: int
    hidden: int = 256
    layers: int = 3
    kind: Annotated[Chosen[FieldKind] | None, chosen_by(FIELDS, None, addresses=False)] = field(
        default=None, metadata=LATER
    )
    spread: PositiveFloat | None = field(default=None, metadata=LATER)

    @property
    def width(self) -> int:
        """Numbers of an action in the network's units: a pretrained field may pad."""
        return self.action_dim if self.kind is None else self.kind.made.width(self.action_dim)


@dataclass(frozen=True)
class CriticShape:
    """The free part of a critic's shape. ``trunk_layers`` hidden layers are shared by Q and V, the rest is
    each head's own; ``heads`` are Q's. ``backbone``: its encoder; null is the policy's, and beside one that
    was trained elsewhere `Thumbnails`. ``zero_q``: an untrained Q is 0 everywhere, and not of the order of 1;
    what a Q of rewards of 1 at the end can't unlearn where few of them are (docs/ogbench.md)."""

    hidden: PositiveInt = 256
    layers: PositiveInt = 3
    trunk_layers: NonNegativeInt = 0
    heads: PositiveInt = 2
    instruction_features: NonNegativeInt = 32
    backbone: Annotated[Chosen[Backbone] | None, chosen_by(BACKBONES, None, addresses=False)] = field(
        default=None, metadata=LATER
    )
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
    def of(shape: CriticShape, policy: FieldConfig, atoms: int) -> "CriticConfig":
        """With the rest taken from the policy."""
        encoder = replace(policy.encoder, instruction_features=shape.instruction_features)
        if shape.backbone is not None:
            made = shape.backbone.made.beside(policy)
            encoder = replace(encoder, backbone=replace(shape.backbone, made=made))
        elif policy.kind is not None and encoder.vision is not None:
            encoder = replace(encoder, backbone=choose(BACKBONES, "thumbnails"))
        width, chunk = policy.width, policy.chunk
        return CriticConfig(
            encoder, width, chunk, shape.hidden, shape.layers, shape.trunk_layers, shape.heads, atoms
        )


def new_field(config: FieldConfig) -> PolicyField:
    """The field a configuration asks for."""
    return VelocityField(config) if config.kind is None else config.kind.made.field(config)


class VelocityField(PolicyField):
    """The platform's own, an MLP.

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

    def told(self, observation: Observation, good: Tensor) -> Observation:
        """As a shift of the instruction's embedding along one fixed direction."""
        sign = (2 * good - 1).unsqueeze(-1)
        return observation._replace(
            instruction=observation.instruction + sign * _direction(observation.instruction)
        )

    @torch.no_grad()
    def ask_for_good(self, trained: PolicyField) -> None:
        """By a shift of one bias."""
        self.load_state_dict(trained.state_dict())
        project = self.encoder.project
        if project is None:
            raise ValueError("advantage conditioning speaks through the instruction; give it features")
        project.bias.add_(project.weight @ _direction(project.weight))


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
        found = field.out(gelu(z)).to(x.dtype)
        return found if field.config.spread is None else about(found, x, w, field.config.spread)


def about(center: Tensor, x: Tensor, w: Tensor | float, spread: float) -> Tensor:
    """The exact velocity at x, w where actions are normal about ``center`` with a standard deviation of
    ``spread``.

    A network that says ``center`` has no noise to pass through its layers, as one has that says a velocity:
    of a chunk of more numbers than a layer is wide only a part of the noise gets through, and stays in the
    action.
    """
    left = 1 - w
    variance = left * left + (w * spread) ** 2
    return ((w * spread * spread - left) * x + left * center) / variance


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
        if config.trunk_layers and isinstance(self.encoder, ChunkEncoder):
            raise UserError("critic.trunk_layers: what Q and V share is the encoder's own here; leave it 0")
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
        seen = self._facing(features, action)
        values = self.q_heads(torch.cat([seen, action], -1).flatten(0, -2), frozen)
        return values.view(-1, *action.shape[:-1]).to(action.dtype)

    def v(self, features: Tensor) -> Tensor:
        """Logits over the support's atoms: (B, atoms)."""
        return self.v_head(self._facing(features, None)).squeeze(0).to(features.dtype)

    def _facing(self, features: Tensor, action: Tensor | None) -> Tensor:
        if isinstance(self.encoder, ChunkEncoder):
            return self.encoder.facing(features, action)
        return features if action is None else features.expand(*action.shape[:-1], -1)

    def shared(self) -> list[nn.Parameter]:
        """Parameters both Q's and V's losses move."""
        return [*self.encoder.parameters(), *self.trunk.parameters()]


def _direction(like: Tensor) -> Tensor:
    """The unit vector (E,) along which an embedding says how good a chunk is."""
    return torch.full_like(like[0], like.shape[-1] ** -0.5)


def gelu(z: Tensor) -> Tensor:
    """In its tanh form."""
    return F.gelu(z, approximate="tanh")


def _xavier_stack(stack: int, fan_in: int, fan_out: int) -> nn.Parameter:
    bound = math.sqrt(6 / (fan_in + fan_out))
    return nn.Parameter(torch.empty(stack, fan_in, fan_out).uniform_(-bound, bound))
