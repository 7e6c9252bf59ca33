"""The layers that these networks share: norms, rotation, grouped attention, gated MLPs. Parts that are stored
are named as in a checkpoint, so that one table of prefixes maps the two.

B batch, L tokens, W width, N heads, G key/value heads, D numbers of a head.
"""

import math
from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.rl.vla.sizes import StackSizes

ROTARY_BASE = 10_000.0  # whatever the language model's own configuration says: the policies were trained so

Family = Literal["gemma", "llama"]
KeysValues = tuple[Tensor, Tensor]
Step = Callable[..., Tensor]


class RmsNorm(nn.Module):
    """Root mean square to 1, in float32, times ``offset`` + weight: Gemma's offset is 1, Llama's 0."""

    def __init__(self, width: int, eps: float, offset: float):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 1.0 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, z: Tensor) -> Tensor:
        return (_unit(z, self.eps) * (self.offset + self.weight.float())).to(z.dtype)


class AdaptiveNorm(nn.Module):
    """The same under a condition (B, W), from which a dense layer makes scale, shift, and the gate of what
    follows."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.dense = nn.Linear(width, 3 * width)
        self.eps = eps
        nn.init.zeros_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, z: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, L, W), normalised, and its gate (B, 1, W)."""
        scale, shift, gate = self.dense(condition).unsqueeze(1).chunk(3, -1)
        return (_unit(z, self.eps) * (1 + scale.float()) + shift.float()).to(z.dtype), gate.to(z.dtype)


class GatedMlp(nn.Module):
    """down(act(gate) · up)."""

    def __init__(self, width: int, hidden: int, family: Family):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.family = family

    def forward(self, z: Tensor) -> Tensor:
        gate = self.gate_proj(z)
        gate = F.gelu(gate, approximate="tanh") if self.family == "gemma" else F.silu(gate)
        return self.down_proj(gate * self.up_proj(z))


class Attention(nn.Module):
    """The projections of grouped attention. keys_from: width of what keys and values are made of."""

    def __init__(self, sizes: StackSizes, keys_from: int | None = None):
        super().__init__()
        self.sizes = sizes
        source = sizes.width if keys_from is None else keys_from
        self.q_proj = nn.Linear(sizes.width, sizes.heads * sizes.head_dim, bias=False)
        self.k_proj = nn.Linear(source, sizes.kv_heads * sizes.head_dim, bias=False)
        self.v_proj = nn.Linear(source, sizes.kv_heads * sizes.head_dim, bias=False)
        self.o_proj = nn.Linear(sizes.heads * sizes.head_dim, sizes.width, bias=False)

    def queries(self, z: Tensor, turn: KeysValues) -> Tensor:
        """(B, N, L, D), rotated."""
        return rotate(self._heads(self.q_proj(z)), turn)

    def keys_values(self, z: Tensor, turn: KeysValues | None) -> KeysValues:
        """Keys, rotated unless ``turn`` is None, and values: (B, G, L, D)."""
        keys = self._heads(self.k_proj(z))
        return keys if turn is None else rotate(keys, turn), self._heads(self.v_proj(z))

    def crossed(self, keys: Tensor, values: Tensor) -> KeysValues:
        """Another stack's keys and values (B, G, P, D) by this layer's projections."""
        keys, values = (_flat(part).to(self.k_proj.weight.dtype) for part in (keys, values))
        return self._heads(self.k_proj(keys)), self._heads(self.v_proj(values))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """mask: bool, broadcasts to (B, N, L, P), true where a query sees a key. Back to (B, L, W)."""
        seen = F.scaled_dot_product_attention(
            queries, keys.to(queries.dtype), values.to(queries.dtype), attn_mask=mask, enable_gqa=True
        )
        return self.o_proj(_flat(seen))

    def _heads(self, z: Tensor) -> Tensor:
        return z.view(*z.shape[:2], -1, self.sizes.head_dim).transpose(1, 2)


class DecoderLayer(nn.Module):
    """A decoder layer's parts; who runs it says what is attended to. adaptive: norms under a condition."""

    def __init__(
        self, sizes: StackSizes, family: Family, adaptive: bool = False, keys_from: int | None = None
    ):
        super().__init__()
        self.self_attn = Attention(sizes, keys_from)
        self.mlp = GatedMlp(sizes.width, sizes.hidden, family)
        self.input_layernorm = new_norm(sizes, family, adaptive)
        self.post_attention_layernorm = new_norm(sizes, family, adaptive)

    def finish(self, z: Tensor, seen: Tensor, gate: Tensor | None, condition: Tensor | None) -> Tensor:
        """The residuals of z (B, L, W) and of what it saw by attention, through the MLP."""
        z = gated(z, seen, gate)
        inner, gate = normed(self.post_attention_layernorm, z, condition)
        return gated(z, self.mlp(inner), gate)


class Stack(nn.Module):
    """Decoder layers and the norm after them; with ``vocabulary``, the token embedding before them too."""

    def __init__(self, sizes: StackSizes, family: Family, adaptive: bool = False, vocabulary: int = 0):
        super().__init__()
        self.sizes = sizes
        if vocabulary:
            self.embed_tokens = nn.Embedding(vocabulary, sizes.width)
        self.layers = nn.ModuleList(DecoderLayer(sizes, family, adaptive) for _ in range(sizes.layers))
        self.norm = new_norm(sizes, family, adaptive)

    def each(self) -> list[DecoderLayer]:
        """Its layers."""
        return cast(list[DecoderLayer], list(self.layers))


def attend(
    layer: DecoderLayer, z: Tensor, keys: Tensor, values: Tensor, mask: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """A layer by which z (B, L, W) sees itself, of which keys and values are made already."""
    queries = layer.self_attn.queries(layer.input_layernorm(z), (cos, sin))
    return layer.finish(z, layer.self_attn(queries, keys, values, mask), None, None)


def attend_along(
    layer: DecoderLayer,
    z: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    cos: Tensor,
    sin: Tensor,
    condition: Tensor | None = None,
) -> Tensor:
    """A layer by which z (B, S, W) sees [prefix; itself], both in ``mask`` (B, 1, S, P + S)."""
    inner, gate = normed(layer.input_layernorm, z, condition)
    attention = layer.self_attn
    own_keys, own_values = attention.keys_values(inner, (cos, sin))
    keys = torch.cat([keys.to(own_keys.dtype), own_keys], 2)
    values = torch.cat([values.to(own_values.dtype), own_values], 2)
    seen = attention(attention.queries(inner, (cos, sin)), keys, values, mask)
    return layer.finish(z, seen, gate, condition)


def attend_across(
    layer: DecoderLayer, z: Tensor, keys: Tensor, values: Tensor, mask: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """A layer by which z (B, S, W) sees the prefix alone, through projections of its own; mask: (B, 1, S,
    P)."""
    attention, inner = layer.self_attn, layer.input_layernorm(z)
    seen = attention(attention.queries(inner, (cos, sin)), *attention.crossed(keys, values), mask)
    return layer.finish(z, seen, None, None)


def new_norm(sizes: StackSizes, family: Family, adaptive: bool) -> nn.Module:
    """Of a family."""
    if adaptive:
        return AdaptiveNorm(sizes.width, sizes.eps)
    return RmsNorm(sizes.width, sizes.eps, 1.0 if family == "gemma" else 0.0)


def normed(norm: nn.Module, z: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """z normalised, and the gate of what follows, where a condition gives one."""
    return (norm(z), None) if condition is None else norm(z, condition)


def gated(z: Tensor, added: Tensor, gate: Tensor | None) -> Tensor:
    """z + gate · added."""
    return z + added if gate is None else z + gate * added


def turn_at(positions: Tensor, head_dim: int) -> KeysValues:
    """Cosine and sine of each position's rotation: positions (B, L) to two (B, 1, L, D / 2) f32."""
    half = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angle = positions.float().unsqueeze(-1) / ROTARY_BASE**half
    return angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)


def rotate(z: Tensor, turn: KeysValues) -> Tensor:
    """Rotary embedding in halves, in float32: z (B, N, L, D)."""
    cos, sin = turn
    first, second = z.float().chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(z.dtype)


def time_embedding(t: Tensor, width: int, shortest: float, longest: float) -> Tensor:
    """Sines, then cosines of t (B,) in [0, 1]: (B, W) f32; periods geometric from ``shortest`` to
    ``longest``. In float64: the shortest period is a few thousandths."""
    at = torch.linspace(0, 1, width // 2, dtype=torch.float64, device=t.device)
    angle = t.double().unsqueeze(-1) * (2 * math.pi / (shortest * (longest / shortest) ** at))
    return torch.cat([angle.sin(), angle.cos()], -1).float()


def _unit(z: Tensor, eps: float) -> Tensor:
    z = z.float()
    return z * torch.rsqrt(z.square().mean(-1, keepdim=True) + eps)


def _flat(z: Tensor) -> Tensor:
    """(B, N, L, D) to (B, L, N · D)."""
    return z.transpose(1, 2).flatten(2)
