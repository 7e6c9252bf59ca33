"""The picture tower: SigLIP's vision transformer, as PaliGemma and SmolVLM have it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.rl.vla.sizes import PictureSizes

PositionIds = Literal["exact", "skewed"]


class PictureTower(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to tokens (B, P, W), one for each patch.

    position_ids: "skewed" numbers patches as transformers 4.55 to 4.57 do for SmolVLM in float32, where all
    but the first row and column get the place before their own (huggingface/transformers #41190).
    """

    def __init__(self, sizes: PictureSizes, position_ids: PositionIds = "exact"):
        super().__init__()
        self.sizes = sizes
        self.embeddings = _Embeddings(sizes, position_ids)
        self.encoder = _Encoder(sizes)
        self.post_layernorm = nn.LayerNorm(sizes.width, eps=sizes.eps)

    def forward(self, pictures: Tensor) -> Tensor:
        z = self.embeddings(pictures.to(self.embeddings.patch_embedding.weight.dtype))
        for layer in self.encoder.layers:
            z = layer(z)
        return self.post_layernorm(z)


class _Embeddings(nn.Module):
    def __init__(self, sizes: PictureSizes, position_ids: PositionIds):
        super().__init__()
        self.position_ids: PositionIds = position_ids
        self.side = sizes.image // sizes.patch
        self.patch_embedding = nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch)
        self.position_embedding = nn.Embedding(sizes.patches, sizes.width)

    def forward(self, pictures: Tensor) -> Tensor:
        places = self.position_embedding.weight
        if self.position_ids == "skewed":
            places = places[_skewed(self.side).to(places.device)]
        return self.patch_embedding(pictures).flatten(2).transpose(1, 2) + places


class _Encoder(nn.Module):
    def __init__(self, sizes: PictureSizes):
        super().__init__()
        self.layers = nn.ModuleList(_PictureLayer(sizes) for _ in range(sizes.layers))


class _PictureLayer(nn.Module):
    def __init__(self, sizes: PictureSizes):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.self_attn = _PictureAttention(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.mlp = _PictureMlp(sizes)

    def forward(self, z: Tensor) -> Tensor:
        z = z + self.self_attn(self.layer_norm1(z))
        return z + self.mlp(self.layer_norm2(z))


class _PictureAttention(nn.Module):
    def __init__(self, sizes: PictureSizes):
        super().__init__()
        self.heads = sizes.heads
        self.q_proj = nn.Linear(sizes.width, sizes.width)
        self.k_proj = nn.Linear(sizes.width, sizes.width)
        self.v_proj = nn.Linear(sizes.width, sizes.width)
        self.out_proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, z: Tensor) -> Tensor:
        q, k, v = (
            part(z).view(*z.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _PictureMlp(nn.Module):
    def __init__(self, sizes: PictureSizes):
        super().__init__()
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)

    def forward(self, z: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(z), approximate="tanh"))


def shuffled(tokens: Tensor, s: int) -> Tensor:
    """Tokens (B, P, W) of a square to those of its s × s blocks: (B, P / s², s² · W)."""
    batch, patches, width = tokens.shape
    side = round(patches**0.5)
    blocks = tokens.reshape(batch, side // s, s, side // s, s, width)  # rows, within, columns, within
    return blocks.transpose(2, 3).reshape(batch, patches // s**2, s * s * width)


def _skewed(side: int) -> Tensor:
    """Which row of the position embedding each patch takes: (side²,). Where a patch lies along a side is
    brought below 1, and then found among the borders it lay upon."""
    borders = torch.arange(1 / side, 1.0, 1 / side)
    along = torch.bucketize(torch.arange(side, dtype=torch.float32) / side * (1 - 1e-6), borders, right=True)
    return (side * along.unsqueeze(1) + along).flatten()
