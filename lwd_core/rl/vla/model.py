"""The seam between such a network and the learning algorithms.

The backbone runs once for a batch of observations and leaves a `Prefix`: for each of its layers the keys and
values that the action expert attends to. Whatever has the same backbone shares it: θ, β, and a critic beside
them. `VlaModel.at` makes of it a flow in this project's convention: noise at w = 0, the action at w = 1, and
velocities towards the action. A checkpoint's time runs the other way, t = 1 − w, and its velocity is −f.

Chunks are in the checkpoint's units (see `statistics`), flattened to A = chunk · action_dim with all padded
dims, as normal noise is where it starts: by deviations they go well beyond [−1, 1], so they are not to be
clipped there.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import checkpoint

from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.layers import DecoderLayer, KeysValues, Stack, Step, attend, turn_at
from lwd_core.rl.vla.vision import PictureTower

_again = cast(Callable[..., Tensor], cast(Any, checkpoint).checkpoint)


@dataclass(frozen=True)
class Prefix:
    """What the backbone made of B observations of P tokens.

    tokens: (B, P, W), the embeddings that enter the language model; present: (B, P) bool, false for padded
    text and cameras that are not there. keys, values: of each layer, (B, G, P, D), keys rotated. pictures:
    (B, C, N, W), the cameras' tokens as projected, for a critic beside the policy; shown: (B, C) bool.
    """

    tokens: Tensor
    present: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    pictures: Tensor
    shown: Tensor

    def detach(self) -> "Prefix":
        """Without its graph."""
        return Prefix(
            self.tokens.detach(),
            self.present,
            tuple(k.detach() for k in self.keys),
            tuple(v.detach() for v in self.values),
            self.pictures.detach(),
            self.shown,
        )

    def __getitem__(self, rows: slice | Tensor) -> "Prefix":
        """That of some of the observations."""
        return Prefix(
            self.tokens[rows],
            self.present[rows],
            tuple(k[rows] for k in self.keys),
            tuple(v[rows] for v in self.values),
            self.pictures[rows],
            self.shown[rows],
        )


class VlaModel(nn.Module, ABC):
    """A backbone and an action expert.

    ``checkpointing``: layers of expert and language model keep no activations for the backward pass, where
    they are run again.
    """

    def __init__(self, config: VlaConfig):
        super().__init__()
        self.config = config
        self.checkpointing = False

    @property
    def width(self) -> int:
        """A, numbers of a flattened chunk."""
        return self.config.chunk * self.config.action_dim

    def prefix(
        self,
        images: Tensor,
        image_mask: Tensor,
        tokens: Tensor,
        token_mask: Tensor,
        state: Tensor,
        gradient: bool = False,
    ) -> Prefix:
        """Run the backbone.

        images: (B, C, 3, height, width) in [-1, 1], see `pictures`; image_mask: (B, C) bool; tokens,
        token_mask: (B, L), see `prompt`; state: (B, ≤ state_dim), normalised. gradient: to the backbone's
        parameters, where they learn; else nothing of it is kept.
        """
        with torch.set_grad_enabled(gradient and torch.is_grad_enabled()):
            return self.informed(self.scene(images, image_mask, tokens, token_mask), state)

    @abstractmethod
    def scene(self, images: Tensor, image_mask: Tensor, tokens: Tensor, token_mask: Tensor) -> Prefix:
        """The part of a prefix that knows nothing of the state; all of it depends on the backbone alone."""

    def informed(self, scene: Prefix, state: Tensor) -> Prefix:
        """A prefix of a scene: with the state (B, ≤ state_dim), where it is told there."""
        return scene

    def at(self, prefix: Prefix, state: Tensor) -> "VlaAt":
        """The flow for the observations of a prefix; state: as there."""
        return VlaAt(self, prefix, self.padded(state))

    def padded(self, state: Tensor) -> Tensor:
        """State (B, ≤ state_dim) to the width its layer has; ValueError for a wider one."""
        missing = self.config.state_dim - state.shape[-1]
        if missing < 0:
            raise ValueError(
                f"a state of {state.shape[-1]} numbers; this network takes {self.config.state_dim}"
            )
        return F.pad(state, (0, missing)) if missing else state

    def expert_parameters(self) -> Iterator[nn.Parameter]:
        """What learns by default: all that works behind the scene."""
        backbone = {id(p) for p in self.backbone_parameters()}
        return (p for p in self.parameters() if id(p) not in backbone)

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """All that a scene depends on."""
        return (p for part in self.backbone() for p in part.parameters())

    @abstractmethod
    def backbone(self) -> list[nn.Module]:
        """The modules a scene depends on."""

    @abstractmethod
    def denoise(self, prefix: Prefix, state: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The checkpoint's own velocity, noise − action: (B, H, D) at x (B, H, D), t (B,) f32."""


def pad_state(state: Tensor, width: int) -> Tensor:
    """State (B, ≤ width) with zeros behind; ValueError for a wider one."""
    if state.shape[-1] > width:
        raise ValueError(f"a state of {state.shape[-1]} numbers; this network takes {width}")
    return F.pad(state, (0, width - state.shape[-1]))


class Denoiser(Protocol):
    """A network in a checkpoint's convention, see `VlaModel.denoise`; ``config`` tells ``action_dim``."""

    config: Any

    def denoise(self, prefix: Any, state: Tensor, x: Tensor, t: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class VlaAt:
    """A network's flow at fixed observations, see `lwd_core.rl.flow.Flow`."""

    model: Denoiser
    prefix: Any
    state: Tensor

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """Velocities (…, B, A) at x (…, B, A); w: a number or a tensor that broadcasts to (…, B, 1).

        Leading dims are gone through one after the other: the expert's activations of one of them, and no
        copy of the prefix.
        """
        if x.dim() > 2:
            each = w.expand(*x.shape[:-1], 1) if isinstance(w, Tensor) else [w] * len(x)
            return torch.stack([self.velocity(at, when) for at, when in zip(x, each, strict=True)])
        t = 1 - torch.as_tensor(w, dtype=torch.float64, device=x.device)
        t = t.float().expand(len(x), 1).squeeze(1)
        chunk = x.reshape(len(x), -1, self.model.config.action_dim)
        return -self.model.denoise(self.prefix, self.state, chunk, t).flatten(-2).to(x.dtype)


class TowerModel(VlaModel):
    """What the three kinds share: a picture tower, a language model, and an expert with as many layers."""

    vision: PictureTower
    text: Stack
    expert: Stack

    def look(self, images: Tensor) -> Tensor:
        """Pictures (B, C, 3, S, S) to tokens (B, C, N, W)."""
        seen = self.project(self.vision(images.flatten(0, 1)))
        return seen.view(*images.shape[:2], *seen.shape[1:])

    @abstractmethod
    def project(self, seen: Tensor) -> Tensor:
        """The tower's tokens to those of the language model."""

    def read(self, tokens: Tensor) -> Tensor:
        """Token embeddings (B, L, W), times √W."""
        return self.text.embed_tokens(tokens) * self.text.sizes.width**0.5

    def fill(self, tokens: Tensor, present: Tensor) -> tuple[KeysValues, ...]:
        """Keys and values of each layer of the language model, for a prefix of embeddings (B, P, W).

        Tokens see each other where ``present``.
        """
        mask = present[:, None, None, :]
        turn = turn_at(present.cumsum(1) - 1, self.text.sizes.head_dim)
        z, kept, layers = tokens.to(self.text.embed_tokens.weight.dtype), list[KeysValues](), self.text.each()
        for layer in layers:
            inner = layer.input_layernorm(z)
            pair = layer.self_attn.keys_values(inner, turn)
            kept.append(pair)
            if layer is not layers[-1]:  # what comes out of the last nobody asks for
                z = self.through(attend, layer, z, *pair, mask, *turn)
        return tuple(kept)

    def through(self, step: Step, layer: DecoderLayer, z: Tensor, *context: Tensor | None) -> Tensor:
        """A layer's step; by ``checkpointing`` without its activations."""
        if self.checkpointing and torch.is_grad_enabled():
            return _again(step, layer, z, *context, use_reentrant=False, preserve_rng_state=False)
        return step(layer, z, *context)
