"""QAM: Q-learning with adjoint matching (arXiv 2601.14234; Adjoint Matching, arXiv 2409.08861).

The policy that maximises Q/λ against KL to a reference flow f_β is that flow tilted by exp(Q/λ).
Paths of the memoryless process are drawn without gradient, the lean adjoint carries ∇Q back along
each path through f_β alone, and f_θ is regressed on it point by point.

Shapes: T flow steps, B batch, A = H·D; flow time w_i = i·h, h = 1/T.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from lwd_core.rl import guard
from lwd_core.rl.batch import Noise
from lwd_core.rl.compute.parallel import mean
from lwd_core.rl.extraction import Extraction, Info, PolicyStep, State
from lwd_core.rl.flow import Flow, clipped, limit_of, vjp

LOG_TEMPERATURE = "log_temperature"


@dataclass(frozen=True)
class QAM(Extraction):
    """Policy extraction.

    steps: T; below 10 training collapses (QAM's released scores). path: who draws the paths, QAM's
    current policy (unbiased) or LWD's reference (first order in 1/λ). aggregate: over Q's heads; QAM
    mean. clip: ∇Q "at" the action clipped as it will be executed, or "through" the clipping as well, so
    that it is 0 for numbers beyond the range (QAM's code), or "none". temperature: λ; LWD 2 for a Q in
    [0, 1] (a tilt of at most half a nat: next to nothing), so a KL budget per chunk in nats can set it by
    dual descent instead. kl_limit: beyond so many λ is raised (see ``guard``); 0 for none, where the
    reference hardly ever succeeds and has to be left far behind. max_adjoint_norm bounds each chunk's
    ‖∇Q/λ‖; 0 leaves it.
    """

    steps: PositiveInt = 10
    path: Literal["current", "reference"] = "current"
    aggregate: Literal["mean", "min"] = "mean"
    clip: Literal["at", "through", "none"] = "at"
    temperature: PositiveFloat = 2.0
    kl_budget: NonNegativeFloat = 0.0
    kl_limit: NonNegativeFloat = 1.0
    dual_rate: NonNegativeFloat = 0.01
    temperature_min: PositiveFloat = 1e-3
    temperature_max: PositiveFloat = 1e3
    max_adjoint_norm: NonNegativeFloat = 0.0

    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info]:
        """See `policy_loss`; λ is the budget's, where there is one."""
        batch, width = at.batch, at.batch.action.shape[1]
        log_temperature = at.state.get(LOG_TEMPERATURE)
        return policy_loss(
            self,
            at.policy(),
            at.reference,
            at.q,
            self.temperature if log_temperature is None else log_temperature.exp().to(batch.action.dtype),
            noise.normal(batch, width),
            noise.normal(batch, self.steps - 1, width).transpose(0, 1),
            batch.mask,
            batch.dim_mask,
        )

    def begin(self, before: State) -> State:
        """log λ, where the path KL moves it: a budget's goes on from where it was, a limit's begins anew."""
        if not guard.moves(self):
            return {}
        configured = torch.tensor(math.log(self.temperature), dtype=torch.float64, device="cpu")
        return {LOG_TEMPERATURE: before.get(LOG_TEMPERATURE, configured) if self.kl_budget else configured}

    def moved(self, state: State, info: Info) -> State:
        """λ by one step of dual descent."""
        if not guard.moves(self):
            return state
        path_kl = mean(info["path_kl"])
        return {LOG_TEMPERATURE: guard.next_temperature(self, state[LOG_TEMPERATURE], path_kl)}


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


@cache
def _schedule(steps: int, dtype: torch.dtype, device: torch.device) -> Schedule:
    h = 1 / steps
    w = torch.arange(steps, dtype=dtype, device=device) * h
    return Schedule(w, (2 * (1 - w + h) / (w + h)).sqrt(), h)


def sample_path(
    schedule: Schedule,
    source: Flow,
    reference: Flow,
    x0: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Points x_0 … x_T of the memoryless process (T + 1, B, A), and ``source``'s velocities at all but x_T.

    x0: (B, A) and noise: (T − 1, B, A) standard normal. ``source`` moves all steps but the last, which
    the reference makes without noise. ``mask`` (B, A) keeps padded dims at 0. No gradient goes through the
    points; what regresses ``source`` at them finds its velocities here, with gradient by its weights.
    """
    if mask is not None:
        x0, noise = x0 * mask, noise * mask
    h, path, velocities = schedule.h, [x0], list[Tensor]()
    *times, last = schedule.w.tolist()
    for w, sigma, epsilon in zip(times, schedule.sigma[:-1].tolist(), noise, strict=True):
        x, velocity = path[-1], source.velocity(path[-1], w)
        drift = 2 * velocity.detach() - x / (w + h)
        path.append(x + h * drift + math.sqrt(h) * sigma * epsilon)
        velocities.append(velocity)
    velocities.append(source.velocity(path[-1], last))
    path.append(path[-1] + h * reference.velocity(path[-1], last).detach())
    return torch.stack(path), torch.stack(velocities)


def action_gradient(
    q: Callable[[Tensor], Tensor], action: Tensor, config: QAM, limit: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """∇_a agg_k Q_k (B, A) and Q there (B,), for ``q`` mapping (B, A) to (heads, B), with actions' limit."""
    with torch.enable_grad():
        at = (clipped(action, limit) if config.clip == "at" else action).detach().requires_grad_()
        heads = q(clipped(at, limit) if config.clip == "through" else at)
        value = heads.mean(0) if config.aggregate == "mean" else heads.amin(0)
        (gradient,) = torch.autograd.grad(value.sum(), at)
    return gradient, value.detach()


def final_adjoint(config: QAM, gradient: Tensor, temperature: Tensor | float) -> Tensor:
    """g_T = −∇Q/λ (B, A), no longer than the configured bound."""
    final = -gradient / temperature
    if config.max_adjoint_norm:
        norm = final.norm(dim=-1, keepdim=True)
        final = final * (config.max_adjoint_norm / norm.clamp_min(config.max_adjoint_norm))
    return final


@torch.no_grad()
def lean_adjoint(schedule: Schedule, reference: Flow, path: Tensor, final: Tensor) -> Tensor:
    """g_0 … g_{T−1} (T, B, A), from g_T = ``final`` = −∇Q/λ back along the path through f_β alone."""
    h, g, adjoints = schedule.h, final, torch.empty_like(path[:-1])
    for i, w in reversed(list(enumerate((schedule.w + h).tolist()))):
        g = g + h * (2 * vjp(reference, path[i], w, g) - g / w)
        adjoints[i] = g
    return adjoints


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


def policy_loss(
    config: QAM,
    theta: Flow,
    beta: Flow,
    q: Callable[[Tensor], Tensor],
    temperature: Tensor | float,
    x0: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
    dim_mask: Tensor | None = None,
) -> tuple[Tensor, Info]:
    """The whole of it: paths, ∇Q at their ends, adjoints back along them, regression.

    q: (B, A) to (heads, B); x0, noise: see `sample_path`; mask, dim_mask: (B, A), numbers that count and
    dims that exist.
    """
    schedule = Schedule.of(config.steps, x0)
    times = schedule.w.view(-1, 1, 1)
    source = theta if config.path == "current" else beta
    path, velocity = sample_path(schedule, source, beta, x0, noise, dim_mask)
    gradient, value = action_gradient(q, path[-1], config, limit_of(beta))
    adjoints = lean_adjoint(schedule, beta, path, final_adjoint(config, gradient, temperature))
    with torch.no_grad():
        base = beta.velocity(path[:-1], times)
    if source is beta:
        velocity = theta.velocity(path[:-1], times)
    loss, info = adjoint_matching_loss(schedule, velocity, base, adjoints, mask)
    return loss, info | {
        "action_gradient": gradient.norm(dim=-1).mean(),
        "adjoint_norm": adjoints.norm(dim=-1).mean(),
        "path_q": value.mean(),
        "temperature": torch.as_tensor(temperature, device=x0.device),
    }
