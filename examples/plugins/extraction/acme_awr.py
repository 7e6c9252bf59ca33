"""Advantage-weighted regression (arXiv 1910.00177): the policy clones replay, by exp(A / temperature)."""

from dataclasses import dataclass

from torch import Tensor

from lwd_core.extend import Extraction, Info, Noise, PolicyStep, flow_matching_loss


@dataclass(frozen=True)
class AdvantageWeighted(Extraction):
    """temperature: how much better a chunk must be to weigh e times as much; most: what none exceeds."""

    temperature: float = 0.1
    most: float = 20.0

    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info]:
        batch = at.batch
        weight = (at.advantage() / self.temperature).exp().clamp_max(self.most)
        x0, w = noise.normal(batch, batch.action.shape[1]), noise.uniform(batch, 1)
        loss, _ = flow_matching_loss(at.policy(), batch.action, batch.mask, x0, w, weight)
        return loss, {"awr_loss": loss.detach(), "awr_weight": weight.mean()}
