"""Flows with known velocity, in float64 and one action dim, for checks with known answers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.rl.flow import Flow
from lwd_core.rl.qam import Schedule, lean_adjoint, sample_path


@dataclass(frozen=True)
class GaussianFlow:
    """The flow from N(0, 1) to N(mean, variance)."""

    mean: float = 0.0
    variance: float = 1.0

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        return self.mean + self._slope(w) * (x - w * self.mean)

    def _slope(self, w):
        return (w * self.variance - (1 - w)) / (w**2 * self.variance + (1 - w) ** 2)


@dataclass(frozen=True)
class MixtureFlow:
    """The flow from N(0, 1) to a mixture of Gaussians."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        logits, velocities = [], []
        for p, m, v in zip(self.weights, self.means, self.variances, strict=True):
            spread = torch.as_tensor(w**2 * v + (1 - w) ** 2, dtype=x.dtype)
            logits.append(-0.5 * (x - w * m) ** 2 / spread - 0.5 * spread.log() + torch.tensor(p).log())
            velocities.append(GaussianFlow(m, v).velocity(x, w))
        return (torch.stack(logits).softmax(0) * torch.stack(velocities)).sum(0)


@dataclass(frozen=True)
class Tilted:
    """A base flow plus a correction piecewise linear in x on a grid: (T, G) values."""

    base: Flow
    grid: Tensor
    correction: Tensor

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        row = self.correction[round(float(w) * len(self.correction))]
        index, share = place(self.grid, x)
        return self.base.velocity(x, w) + row[index] * (1 - share) + row[index + 1] * share


def place(grid: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Grid cell and share within it; beyond the grid the end cell's line goes on."""
    position = (x - grid[0]) / (grid[1] - grid[0])
    index = position.floor().clamp(0, len(grid) - 2)
    return index.long(), position - index


def adjoint_matching_optimum(
    base: Flow,
    q_slope,
    *,
    steps: int,
    path: str,
    grid: Tensor,
    batch: int,
    rounds: int,
    average: int = 1,
    source: Flow | None = None,
) -> Tilted:
    """Least-squares minimiser of the adjoint-matching loss, found with the library's path and adjoint.

    ``q_slope`` is ∇Q/λ. The correction is fitted on hat functions over ``grid``; with paths of the
    current flow the fit is repeated, and the last ``average`` fits are averaged. A given ``source`` draws
    the paths of every round.
    """
    generator = torch.Generator().manual_seed(0)
    schedule = Schedule.of(steps, grid)
    current = source or base
    fits = []
    for _ in range(rounds if path == "current" else 1):
        x0 = torch.randn(batch, 1, generator=generator, dtype=grid.dtype)
        noise = torch.randn(steps - 1, batch, 1, generator=generator, dtype=grid.dtype)
        points, _ = sample_path(schedule, current if path == "current" else base, base, x0, noise)
        adjoints = lean_adjoint(schedule, base, points, -q_slope(points[-1]))
        wanted = -0.5 * schedule.sigma.view(-1, 1, 1) ** 2 * adjoints
        rows = []
        for x, y in zip(points[:-1, :, 0], wanted[..., 0], strict=True):
            index, share = place(grid, x)
            rows.append(_fit_hats(len(grid), index, share, y))
        fits.append(torch.stack(rows))
        current = source or Tilted(base, grid, fits[-1])
    return Tilted(base, grid, torch.stack(fits[-average:]).mean(0))


def _fit_hats(size: int, index: Tensor, share: Tensor, y: Tensor) -> Tensor:
    """Least squares of y on hat functions: their tridiagonal normal equations."""
    gram, moment = torch.eye(size, dtype=y.dtype) * 1e-6, torch.zeros(size, dtype=y.dtype)
    sides = ((index, 1 - share), (index + 1, share))
    for i, a in sides:
        moment.index_add_(0, i, a * y)
        for j, b in sides:
            gram.index_put_((i, j), a * b, accumulate=True)
    return torch.linalg.solve(gram, moment)


def euler(flow: Flow, x: Tensor, steps: int) -> Tensor:
    """The flow's ODE, unclipped."""
    for i in range(steps):
        x = x + flow.velocity(x, i / steps) / steps
    return x
