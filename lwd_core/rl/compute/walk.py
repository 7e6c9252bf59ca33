"""Steps along a flow, and of a gradient back along them; a network's flow may make all of them in one call.

Euler integration and the memoryless process both move x to ``keep x + move f(x, w) + stir noise``; the lean
adjoint moves g to ``keep g + move gᵀ ∂f/∂x``. Shapes: T steps, B batch, A = H·D.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Walked = tuple[Tensor, Tensor]  # points and velocities


class Step(NamedTuple):
    """At flow time w."""

    w: float
    keep: float
    move: float
    stir: float = 0.0


class Source(Protocol):
    """What is walked along: velocities (…, B, A) at points and flow times."""

    def velocity(self, x: Tensor, w: float) -> Tensor: ...


class Linearised(Protocol):
    """Derivatives of a flow at the points of a path."""

    def pull(self, i: int, g: Tensor) -> Tensor:
        """gᵀ ∂f/∂x at path point i; g (B, A)."""
        ...


class Differentiable(Protocol):
    """What a gradient is pulled along."""

    def linearise(self, x: Tensor, w: Tensor) -> Linearised:
        """x: (T, B, A), w: (T, 1, 1)."""
        ...


@runtime_checkable
class Walks(Protocol):
    """A source that may walk by itself: None where it does not."""

    def walk(
        self, x: Tensor, steps: Sequence[Step], noise: Tensor | None
    ) -> tuple[Tensor, Tensor] | None: ...


@runtime_checkable
class PullsAlong(Protocol):
    """A flow that may pull a gradient by itself: None where it does not."""

    def pull_along(self, points: Tensor, steps: Sequence[Step], last: Tensor) -> Tensor | None: ...


@torch.no_grad()
def walk(source: Source, x: Tensor, steps: Sequence[Step], noise: Tensor | None = None) -> Walked:
    """Points (T + 1, …, B, A) from x (…, B, A) on and the velocities (T, …, B, A) at all but the last.

    noise: (T, …, B, A).
    """
    if isinstance(source, Walks):
        walked = source.walk(x, steps, noise)
        if walked is not None:
            return walked
    points, velocities = [x], []
    for i, step in enumerate(steps):
        velocities.append(source.velocity(x, step.w))
        x = torch.add(step.keep * x, velocities[-1], alpha=step.move)
        if noise is not None:
            x.add_(noise[i], alpha=step.stir)
        points.append(x)
    return torch.stack(points), torch.stack(velocities)


@torch.no_grad()
def pull_along(flow: Differentiable, points: Tensor, steps: Sequence[Step], last: Tensor) -> Tensor:
    """Gradients g_0 … g_{T−1} (T, B, A), from ``last`` = g_T (B, A) back along points (T, B, A).

    One batched forward linearises the flow at all points; the chain back is products.
    """
    if isinstance(flow, PullsAlong):
        pulled = flow.pull_along(points, steps, last)
        if pulled is not None:
            return pulled
    times = points.new_tensor([step.w for step in steps]).view(-1, 1, 1)
    derivative = flow.linearise(points, times)
    gradients, g = torch.empty_like(points), last
    for i, step in reversed(list(enumerate(steps))):
        g = torch.add(step.keep * g, derivative.pull(i, g), alpha=step.move)
        gradients[i] = g
    return gradients
