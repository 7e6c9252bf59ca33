"""QAM: Q-learning with adjoint matching (arXiv 2601.14234; Adjoint Matching, arXiv 2409.08861).

The policy that maximises Q/λ against KL to a reference flow f_β is that flow tilted by exp(Q/λ).
Paths of the memoryless process are drawn without gradient, the lean adjoint carries ∇Q back along
each path through f_β alone, and f_θ is regressed on it point by point.

Shapes: T flow steps, B batch, A = H·D; flow time w_i = i·h, h = 1/T.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import torch
from torch import Tensor

from lwd_core.rl.compute.walk import Source, Step, Walked, pull_along, walk
from lwd_core.rl.flow import ConditionedFlow, Flow, RecordedFlow

Info = dict[str, Tensor]


@dataclass(frozen=True)
class QAMConfig:
    """Policy extraction.

    steps: T; below 10 training collapses (QAM's released scores). path: who draws the paths, QAM's
    current policy (unbiased) or LWD's reference (first order in 1/λ). aggregate: over Q's heads; QAM
    mean. clip: ∇Q "at" the action clipped as it will be executed, or "through" the clipping as well, so
    that it is 0 for numbers beyond the range (QAM's code), or "none". temperature: λ; LWD 2 for a Q in
    [0, 1] (a tilt of at most half a nat: next to nothing), so a KL budget per chunk in nats can set it by
    dual descent instead. kl_limit: beyond so many λ is raised (see ``guard``); 0 for none, where the
    reference hardly ever succeeds and has to be left far behind. reference: LWD freezes the SFT policy; QAM
    refreshes it as an EMA (``reference_ema``, QAM 0.005) of a flow trained by BC on replay; "acting" is what
    acted when the stage began, and stands until its end. max_adjoint_norm bounds each chunk's ‖∇Q/λ‖; 0
    leaves it.
    """

    steps: int = 10
    path: Literal["current", "reference"] = "current"
    aggregate: Literal["mean", "min"] = "mean"
    clip: Literal["at", "through", "none"] = "at"
    temperature: float = 2.0
    kl_budget: float = 0.0
    kl_limit: float = 1.0
    dual_rate: float = 0.01
    temperature_min: float = 1e-3
    temperature_max: float = 1e3
    reference: Literal["frozen", "refreshed", "acting"] = "frozen"
    reference_ema: float = 0.005
    reference_data: Literal["success", "finished", "all"] = "success"
    max_adjoint_norm: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """The memoryless schedule, with noise that makes x_1 independent of x_0.

    σ² is the quotient 2(1 − w + h)/(w + h); the product 2(1 − w)w of some transcriptions is wrong.
    """

    w: Tensor
    sigma: Tensor
    h: float

    @staticmethod
    def of(steps: int, like: Tensor) -> "Schedule":
        """w and sigma: (T,) with the type and device of ``like``."""
        return _schedule(steps, like.dtype, like.device)

    @cached_property
    def drawing(self) -> list[Step]:
        """From x_0 to x_{T−1}, with noise."""
        times, stir = self.w.tolist(), (math.sqrt(self.h) * self.sigma).tolist()
        h = self.h
        return [Step(w, 1 - h / (w + h), 2 * h, c) for w, c in zip(times[:-1], stir[:-1], strict=True)]

    @cached_property
    def ending(self) -> list[Step]:
        """From x_{T−1} to x_T, without."""
        return [Step(self.w[-1].item(), 1.0, self.h)]

    @cached_property
    def adjoint(self) -> list[Step]:
        """From g_0 to g_T, to be gone back."""
        return [Step(w, 1 - self.h / w, 2 * self.h) for w in (self.w + self.h).tolist()]


@cache
def _schedule(steps: int, dtype: torch.dtype, device: torch.device) -> Schedule:
    h = 1 / steps
    w = torch.arange(steps, dtype=dtype, device=device) * h
    return Schedule(w, (2 * (1 - w + h) / (w + h)).sqrt(), h)


@torch.no_grad()
def sample_path(
    schedule: Schedule,
    source: Source,
    reference: Source,
    x0: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Points x_0 … x_T of the memoryless process: (T + 1, B, A).

    x0: (B, A) and noise: (T − 1, B, A) standard normal. ``source`` moves all steps but the last, which
    the reference makes without noise. ``mask`` (B, A) keeps padded dims at 0.
    """
    if mask is not None:
        x0, noise = x0 * mask, noise * mask
    drawn, _ = walk(source, x0, schedule.drawing, noise)
    end, _ = walk(reference, drawn[-1], schedule.ending)
    return torch.cat([drawn, end[1:]])


def action_gradient(
    q: Callable[[Tensor], Tensor], action: Tensor, config: QAMConfig
) -> tuple[Tensor, Tensor]:
    """∇_a agg_k Q_k (B, A) and Q there (B,), for ``q`` mapping (B, A) to (heads, B)."""
    with torch.enable_grad():
        at = (action.clamp(-1, 1) if config.clip == "at" else action).detach().requires_grad_()
        heads = q(at.clamp(-1, 1) if config.clip == "through" else at)
        value = heads.mean(0) if config.aggregate == "mean" else heads.amin(0)
        (gradient,) = torch.autograd.grad(value.sum(), at)
    return gradient, value.detach()


def final_adjoint(config: QAMConfig, gradient: Tensor, temperature: Tensor | float) -> Tensor:
    """g_T = −∇Q/λ (B, A), no longer than the configured bound."""
    final = -gradient / temperature
    if config.max_adjoint_norm:
        norm = final.norm(dim=-1, keepdim=True)
        final = final * (config.max_adjoint_norm / norm.clamp_min(config.max_adjoint_norm))
    return final


@torch.no_grad()
def lean_adjoint(schedule: Schedule, reference: Flow, path: Tensor, final: Tensor) -> Tensor:
    """g_0 … g_{T−1} (T, B, A), from g_T = ``final`` = −∇Q/λ."""
    return pull_along(reference, path[:-1], schedule.adjoint, final)


def adjoint_matching_loss(
    schedule: Schedule, velocity: Tensor, base: Tensor, adjoints: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Info]:
    """θ's loss: mean_B Σ_i Σ_d (2 (f_θ − f_β)/σ_i + σ_i g_i)², and the path KL of θ from β.

    velocity, base, adjoints: (T, B, A) at x_0 … x_{T−1}; the gradient goes through ``velocity`` alone.
    mask: (B, A), 1 where a number counts.
    """
    sigma = schedule.sigma.view(-1, 1, 1)
    control = 2 * (velocity - base) / sigma
    error = (control + sigma * adjoints).square()
    kl = control.detach().square() * (schedule.h / 2)
    if mask is not None:
        error, kl = torch.where(mask > 0, error, 0.0), torch.where(mask > 0, kl, 0.0)
    loss = error.sum((0, 2)).mean()
    return loss, {"qam_loss": loss.detach(), "path_kl": kl.sum((0, 2)).mean()}


@torch.no_grad()
def base_velocity(beta: ConditionedFlow, path: Tensor, times: Tensor, known: list[Tensor]) -> Tensor:
    """β at x_0 … x_{T−1}: (T, B, A), of which the path already asked for the last ones, or for all."""
    missing = len(times) - len(known)
    later = torch.stack(known)
    if not missing:
        return later
    return torch.cat([beta.velocity(path[:missing], times[:missing]), later])


class _Remembered:
    """A flow that keeps the velocities it gave."""

    def __init__(self, flow: ConditionedFlow):
        self.flow = flow
        self.velocities: list[Tensor] = []

    def velocity(self, x: Tensor, w: float) -> Tensor:
        self.velocities.append(self.flow.velocity(x, w))
        return self.velocities[-1]

    def walk(self, x: Tensor, steps: Sequence[Step], noise: Tensor | None) -> Walked | None:
        walked = self.flow.walk(x, steps, noise)
        if walked is not None:
            self.velocities.extend(walked[1])
        return walked


def policy_loss(
    config: QAMConfig,
    theta: ConditionedFlow,
    beta: ConditionedFlow,
    q: Callable[[Tensor], Tensor],
    temperature: Tensor | float,
    x0: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
    dim_mask: Tensor | None = None,
) -> tuple[Tensor, Info]:
    """The whole of it: paths, ∇Q at their ends, adjoints back along them, regression.

    q: (B, A) to (heads, B); x0, noise: see `sample_path`; mask, dim_mask: (B, A), numbers that count and
    dims that exist. What draws the path is recorded: at those points its velocities are known, and θ's
    gradient is taken from the recording.
    """
    schedule = Schedule.of(config.steps, x0)
    times = schedule.w.view(-1, 1, 1)
    with torch.no_grad():
        if config.path == "current":
            source, reference = theta.record(config.steps), _Remembered(beta)
        else:
            source = reference = _Remembered(beta)
        path = sample_path(schedule, source, reference, x0, noise, dim_mask)
        gradient, value = action_gradient(q, path[-1], config)
        adjoints = lean_adjoint(schedule, beta, path, final_adjoint(config, gradient, temperature))
        base = base_velocity(beta, path, times, reference.velocities)
    if isinstance(source, RecordedFlow):
        source.velocity(path[-2], times[-1].item())
        velocity = source.replay()
    else:
        velocity = theta.velocity(path[:-1], times)
    loss, info = adjoint_matching_loss(schedule, velocity, base, adjoints, mask)
    return loss, info | {
        "action_gradient": gradient.norm(dim=-1).mean(),
        "adjoint_norm": adjoints.norm(dim=-1).mean(),
        "path_q": value.mean(),
        "temperature": torch.as_tensor(temperature, device=x0.device),
    }
