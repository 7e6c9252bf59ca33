"""pi0 (arXiv 2410.24164) and pi0.5 (arXiv 2504.16054): PaliGemma and a smaller Gemma that attends to it in
every layer.

pi0's expert reads [state][actions], time mixed into the actions by an MLP. pi0.5's reads [actions], time
conditions its norms, and the state is in the prompt alone.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.layers import Stack, attend_along, normed, time_embedding, turn_at
from lwd_core.rl.vla.model import Prefix, TowerModel
from lwd_core.rl.vla.vision import PictureTower


class PiModel(TowerModel):
    """Either of the two; parts are named by `checkpoint.PREFIXES`."""

    def __init__(self, config: VlaConfig):
        super().__init__(config)
        sizes, width = config.sizes, config.sizes.expert.width
        self.adaptive = config.kind == "pi05"
        self.vision = PictureTower(sizes.vision)
        self.projector = nn.Linear(sizes.vision.width, sizes.text.width)
        self.text = Stack(sizes.text, "gemma", vocabulary=sizes.vocabulary)
        self.expert = Stack(sizes.expert, "gemma", self.adaptive)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)
        if self.adaptive:
            self.time_mlp_in = nn.Linear(width, width)
            self.time_mlp_out = nn.Linear(width, width)
        else:
            self.state_proj = nn.Linear(config.state_dim, width)
            self.action_time_mlp_in = nn.Linear(2 * width, width)
            self.action_time_mlp_out = nn.Linear(width, width)

    def backbone(self) -> list[nn.Module]:
        return [self.vision, self.projector, self.text]

    def project(self, seen: Tensor) -> Tensor:
        return self.projector(seen)

    def scene(self, images: Tensor, image_mask: Tensor, tokens: Tensor, token_mask: Tensor) -> Prefix:
        pictures = self.look(images)
        embedded = torch.cat([pictures.flatten(1, 2), self.read(tokens)], 1)
        shown = image_mask.repeat_interleave(pictures.shape[2], 1)
        present = torch.cat([shown, token_mask], 1).bool()
        keys, values = zip(*self.fill(embedded, present), strict=True)
        return Prefix(embedded, present, keys, values, pictures, image_mask)

    def denoise(self, prefix: Prefix, state: Tensor, x: Tensor, t: Tensor) -> Tensor:
        z, condition = self._suffix(state, x, t)
        before = z.shape[1] - x.shape[1]  # the state's token, which does not see the actions
        sees = torch.ones(z.shape[1], z.shape[1], dtype=torch.bool, device=z.device)
        sees[:before, before:] = False
        mask = torch.cat(
            [
                prefix.present[:, None, :].expand(-1, z.shape[1], -1),
                sees.expand(len(z), -1, -1),
            ],
            -1,
        ).unsqueeze(1)
        positions = prefix.present.sum(1, keepdim=True) + torch.arange(z.shape[1], device=z.device)
        turn = turn_at(positions, self.expert.sizes.head_dim)
        for layer, keys, values in zip(self.expert.each(), prefix.keys, prefix.values, strict=True):
            z = self.through(attend_along, layer, z, keys, values, mask, *turn, condition)
        z, _ = normed(self.expert.norm, z[:, before:], condition)
        return self.action_out_proj(z)

    def _suffix(self, state: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the expert reads (B, S, W), and pi0.5's condition (B, W)."""
        config, width = self.config, self.expert.sizes.width
        action = self.action_in_proj(x.to(self.action_in_proj.weight.dtype))
        time = time_embedding(t, width, config.min_period, config.max_period).to(action.dtype)
        if self.adaptive:
            return action, F.silu(self.time_mlp_out(F.silu(self.time_mlp_in(time))))
        both = torch.cat([action, time.unsqueeze(1).expand_as(action)], -1)
        action = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))
        return torch.cat([self.state_proj(state.to(action.dtype)).unsqueeze(1), action], 1), None
