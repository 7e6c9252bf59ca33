"""SmolVLA (arXiv 2506.01844): SmolVLM's lower layers, and a narrower expert that by turns attends to itself
and the prefix, and to the prefix alone. The state is the prefix's last token."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.layers import (
    Attention,
    KeysValues,
    Stack,
    attend_across,
    attend_along,
    time_embedding,
    turn_at,
)
from lwd_core.rl.vla.model import Prefix, TowerModel
from lwd_core.rl.vla.vision import PictureTower, PositionIds, shuffled


class SmolVlaModel(TowerModel):
    """Parts are named by `checkpoint.PREFIXES`. position_ids: see `PictureTower`."""

    def __init__(self, config: VlaConfig, position_ids: PositionIds = "exact"):
        super().__init__(config)
        sizes, width = config.sizes, config.sizes.expert.width
        self.vision = PictureTower(sizes.vision, position_ids)
        self.projector = nn.Linear(sizes.vision.width * sizes.shuffle**2, sizes.text.width, bias=False)
        self.text = Stack(sizes.text, "llama", vocabulary=sizes.vocabulary)
        self.expert = Stack(sizes.expert, "llama")
        for i, layer in enumerate(self.expert.each()):
            if self.crosses(i):
                layer.self_attn = Attention(sizes.expert, sizes.text.kv_heads * sizes.text.head_dim)
        self.state_proj = nn.Linear(config.state_dim, sizes.text.width)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)

    def crosses(self, layer: int) -> bool:
        """Whether a layer of the expert sees the prefix alone."""
        every = self.config.self_attention_every
        return every == 0 or layer % every != 0

    def backbone(self) -> list[nn.Module]:
        return [self.vision, self.projector, self.text]

    def project(self, seen: Tensor) -> Tensor:
        return self.projector(shuffled(seen, self.config.sizes.shuffle))

    def scene(self, images: Tensor, image_mask: Tensor, tokens: Tensor, token_mask: Tensor) -> Prefix:
        pictures = self.look(images)
        scaled = pictures * self.text.sizes.width**0.5
        embedded = torch.cat([scaled.flatten(1, 2), self.read(tokens)], 1)
        shown = image_mask.repeat_interleave(pictures.shape[2], 1)
        present = torch.cat([shown, token_mask], 1).bool()
        keys, values = zip(*self.fill(embedded, present), strict=True)
        return Prefix(embedded, present, keys, values, pictures, image_mask)

    def informed(self, scene: Prefix, state: Tensor) -> Prefix:
        """With the state as a last token, which sees all and is not seen."""
        state = self.padded(state).to(self.state_proj.weight.dtype)
        told = self.state_proj(state).to(scene.tokens.dtype).unsqueeze(1)
        present = torch.cat([scene.present, torch.ones_like(scene.present[:, :1])], 1)
        turn = turn_at(scene.present.sum(1, keepdim=True), self.text.sizes.head_dim)
        mask, z, kept = present[:, None, None, :], told, list[KeysValues]()
        for layer, keys, values in zip(self.text.each(), scene.keys, scene.values, strict=True):
            own = layer.self_attn.keys_values(layer.input_layernorm(z), turn)
            kept.append((torch.cat([keys, own[0]], 2), torch.cat([values, own[1]], 2)))
            if len(kept) < len(scene.keys):
                z = attend_along(layer, z, keys, values, mask, *turn)
        keys, values = zip(*kept, strict=True)
        tokens = torch.cat([scene.tokens, told], 1)
        return Prefix(tokens, present, keys, values, scene.pictures, scene.shown)

    def denoise(self, prefix: Prefix, state: Tensor, x: Tensor, t: Tensor) -> Tensor:
        z, (batch, steps) = self._suffix(x, t), x.shape[:2]
        seen = prefix.present[:, None, None, :].expand(-1, 1, steps, -1)
        causal = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
        mask = torch.cat([seen, causal.expand(batch, 1, -1, -1)], -1)
        own = torch.arange(steps, device=x.device).unsqueeze(0)
        head_dim = self.expert.sizes.head_dim
        after = turn_at(prefix.present.sum(1, keepdim=True) + own, head_dim)
        alone = turn_at(own, head_dim)  # those that cross count from 0
        for i, (layer, keys, values) in enumerate(
            zip(self.expert.each(), prefix.keys, prefix.values, strict=True)
        ):
            if self.crosses(i):
                z = self.through(attend_across, layer, z, keys, values, seen, *alone)
            else:
                z = self.through(attend_along, layer, z, keys, values, mask, *after)
        return self.action_out_proj(self.expert.norm(z))

    def _suffix(self, x: Tensor, t: Tensor) -> Tensor:
        """What the expert reads: (B, H, W)."""
        config, width = self.config, self.expert.sizes.width
        action = self.action_in_proj(x.to(self.action_in_proj.weight.dtype))
        time = time_embedding(t, width, config.min_period, config.max_period).to(action.dtype)
        both = torch.cat([action, time.unsqueeze(1).expand_as(action)], -1)
        return self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))
