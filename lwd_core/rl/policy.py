"""What acts: normaliser, velocity field and Euler sampling in one module, in raw units at both ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from lwd_core.config_file import faults
from lwd_core.rl.chosen import plain
from lwd_core.rl.encoders import Observation
from lwd_core.rl.fields import PolicyUnits
from lwd_core.rl.flow import ConditionedFlow, best_of_n, sample
from lwd_core.rl.networks import Critic, CriticConfig, FieldConfig, new_field

STD_FLOOR = 0.05  # a dim that hardly moves in training must not explode when it does
STATE_LIMIT = 10.0  # standard deviations


class Normaliser(PolicyUnits):
    """Those of the platform's own networks: standardised, bounded states; actions affinely to [-1, 1]."""

    state_mean: Tensor
    state_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(self, state_mean: Tensor, state_std: Tensor, action_low: Tensor, action_high: Tensor):
        """State statistics (S,), action limits (D,); limits may be left at -1 and 1."""
        super().__init__()
        for name, value in (
            ("state_mean", state_mean),
            ("state_std", state_std.clamp_min(STD_FLOOR)),
            ("action_low", action_low),
            ("action_high", action_high),
        ):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32).clone())

    @classmethod
    def identity(cls, state_dim: int, action_dim: int) -> "Normaliser":
        """Changes nothing but states beyond the limit."""
        ones = torch.ones(action_dim)
        return cls(torch.zeros(state_dim), torch.ones(state_dim), -ones, ones)

    def state(self, raw: Tensor) -> Tensor:
        """(B, S) raw to normalised."""
        return ((raw - self.state_mean) / self.state_std).clamp(-STATE_LIMIT, STATE_LIMIT)

    def action(self, raw: Tensor) -> Tensor:
        """(…, D) raw to [-1, 1]."""
        return 2 * (raw - self.action_low) / (self.action_high - self.action_low) - 1

    def raw_action(self, action: Tensor) -> Tensor:
        """(…, D) in [-1, 1] to raw."""
        return self.action_low + (action + 1) * (self.action_high - self.action_low) / 2


@dataclass(frozen=True)
class PolicyConfig:
    """Network and how it acts: Euler ``steps``; of ``best_of`` chunks the one the critic likes best."""

    field: FieldConfig
    steps: int = 10
    best_of: int = 1
    critic: CriticConfig | None = None

    def __post_init__(self) -> None:
        if self.best_of > 1 and self.critic is None:
            raise ValueError("best_of: choosing among chunks needs a critic")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a bundle's manifest."""
        return plain(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PolicyConfig":
        """Inverse of `to_dict`; ValueError names a wrong field. It comes from outside, with a bundle: what it
        names must be installed."""
        try:
            return TypeAdapter(cls).validate_python(value, context={"addresses": False})
        except ValidationError as error:
            raise ValueError(faults(error, "network")) from error


class FlowPolicy(nn.Module):
    """The deployable policy. Its state dict is a bundle's weights."""

    def __init__(self, config: PolicyConfig, normaliser: PolicyUnits | None = None):
        """Without a normaliser, one is made to be filled by ``load_state_dict``."""
        super().__init__()
        self.config = config
        field = config.field
        self.normaliser = normaliser or _blank(field)
        self.field = new_field(field)
        self.critic = Critic(config.critic) if config.critic and config.best_of > 1 else None

    def noise_shape(self, batch: int) -> tuple[int, ...]:
        """Shape of the noise that `forward` takes: (B, H, W), or (N, B, H, W) to choose among N."""
        shape = (batch, self.config.field.chunk, self.config.field.width)
        return shape if self.critic is None else (self.config.best_of, *shape)

    def forward(
        self,
        state: Tensor,
        instruction: Tensor,
        noise: Tensor,
        dim_mask: Tensor | None = None,
        image: Tensor | None = None,
        image_mask: Tensor | None = None,
        tokens: Tensor | None = None,
        token_mask: Tensor | None = None,
    ) -> Tensor:
        """Raw states (B, S), sentence embeddings (B, E), normal noise to raw actions (B, H, D).

        Actions lie within the limits. noise: see `noise_shape`. dim_mask: (B, D), 0 on dims the
        embodiment does not have. image, image_mask, tokens, token_mask: see `Observation`.
        """
        batch, chunk, dims = noise.shape[-3:]
        mask = None if dim_mask is None else dim_mask.repeat(1, chunk)
        observation = Observation(
            self.normaliser.state(state), instruction, image, image_mask, tokens, token_mask
        )
        flow = ConditionedFlow.of(self.field, observation, mask)
        x = noise.flatten(-2)
        x = x if mask is None else x * mask
        if self.critic is None:
            action = sample(flow, x, self.config.steps)
        else:
            critic, features = self.critic, self.critic.features(observation)
            action, _ = best_of_n(flow, lambda a: critic.q(features, a), x, self.config.steps)
        return self.normaliser.raw_action(action.view(batch, chunk, dims))

    def answer(
        self,
        states: Tensor,
        instructions: Sequence[str],
        embeddings: Tensor,
        noise: Tensor,
        seen: Mapping[str, Tensor | None] = MappingProxyType({}),
        embodiment: str = "",
    ) -> Tensor:
        """`forward` for a robot: its raw states (B, S') to its raw actions (B, H, D'), on the CPU.

        embeddings: of the instructions (B, E); seen: ``image`` and ``image_mask``. embodiment: whose states
        they are, where it learned from several of one width; UserError where that has to be said.
        """
        units, device = self.normaliser, next(self.parameters()).device
        if not len(states):  # nobody asks: not every network has an answer to that
            none = torch.zeros(0, self.config.field.chunk, self.config.field.action_dim)
            return units.leaving(none, states.shape[1], embodiment)
        raw = units.entering(states, embodiment).to(device)
        given = {name: value if value is None else value.to(device) for name, value in seen.items()}
        told = units.prompt(instructions, units.state(raw))
        if told is not None:
            given |= {"tokens": told[0], "token_mask": told[1]}
        chunks = self(raw, embeddings.to(device), noise.to(device), **given)
        return units.leaving(chunks.cpu(), states.shape[1], embodiment)

    @torch.no_grad()
    def act(
        self,
        state: Tensor,
        instruction: Tensor,
        generator: torch.Generator,
        image: Tensor | None = None,
    ) -> Tensor:
        """`forward` with noise from a generator."""
        noise = torch.randn(self.noise_shape(len(state)), generator=generator, device=generator.device)
        return self(state, instruction, noise.to(state.device), image=image)


def _blank(field: FieldConfig) -> PolicyUnits:
    if field.kind is not None:
        return field.kind.made.units(field)
    return Normaliser.identity(field.encoder.state_dim, field.action_dim)
