"""What each value learns of play, exactly: no network, no sampling, a grid where everything can be listed.

    python -m benchmarks.ogbench.play [--size 11]

Play walks from one random cell to the next; one cell is the task's goal. A value that bootstraps from what
the data's own actions are worth sees the goal only as far as enough of play heads for it. The fixed points of
`lwd_core.rl.divl` (201 atoms, α = .3) stand beside IQL's expectile and beside the value of the best actions
in the data, which a bootstrap from an improving policy comes to.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lwd_core.rl.divl import DIVLConfig, adaptive_tau, project, quantile

Backup = Callable[[Tensor, Tensor], Tensor]
MOVES = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y])
NOISE = 0.1  # of play's moves are random
GAMMA = 0.99**5  # a chunk, as in the comparison


@dataclass(frozen=True)
class Grid:
    """Cells S, moves A: ``after`` (S, A) where a move leads, ``share`` (S, A) of play that makes it."""

    after: Tensor
    share: Tensor
    goal: int

    @staticmethod
    def of(size: int) -> "Grid":
        """Walls hold; the goal lies a quarter of the way in from a corner."""
        cells = np.stack(np.divmod(np.arange(size * size), size), 1)
        after = np.clip(cells[:, None] + MOVES, 0, size - 1) @ (size, 1)
        heads = np.sign(cells[None] - cells[:, None])  # from a cell to every other
        share = (heads[:, :, None] == MOVES).all(-1).sum(1) / (size * size - 1)
        share = (1 - NOISE) * share + NOISE / len(MOVES)
        return Grid(torch.tensor(after), torch.tensor(share, dtype=torch.float32), (size // 4) * (size + 1))

    def value(self, backup: Backup, n: int = 1, rounds: int = 200) -> tuple[Tensor, Tensor]:
        """V (S,) and Q (S, A) at the fixed point; 1 for the move that comes to the goal.

        n: moves of a return, all but the first as play makes them; it forgets its target at every move here.
        """
        v = torch.zeros(len(self.after))
        q = self.arrives.float()
        for _ in range(rounds):
            for _ in range(n - 1):
                v = (self._one_move(v) * self.share).sum(-1)
            q = self._one_move(v)
            v = backup(q, self.share)
        return v, q

    def _one_move(self, v: Tensor) -> Tensor:
        return torch.where(self.arrives, 1.0, GAMMA * v[self.after])

    @property
    def arrives(self) -> Tensor:
        """(S, A) moves into the goal."""
        return self.after == self.goal

    def reached(self, q: Tensor, limit: int) -> float:
        """The share of cells from which the best moves by Q, where one is better, come to the goal."""
        at = torch.arange(len(self.after))
        for _ in range(limit):
            known = q[at].amax(-1) - q[at].amin(-1) > 1e-3
            best = self.after[at, q[at].argmax(-1)]
            at = torch.where((at == self.goal) | ~known, at, best)
        return float((at == self.goal).float().mean())


def divl(config: DIVLConfig) -> Backup:
    """The quantile of the law of Q over play's moves."""

    def backup(q: Tensor, share: Tensor) -> Tensor:
        law = (project(config.support, q) * share.unsqueeze(-1)).sum(1)
        return quantile(config.support, law, adaptive_tau(config, law))

    return backup


def expectile(tau: float) -> Backup:
    """IQL's, by its fixed point."""

    def backup(q: Tensor, share: Tensor) -> Tensor:
        v = (q * share).sum(-1)
        for _ in range(100):
            weight = share * torch.where(q > v.unsqueeze(-1), tau, 1 - tau)
            v = (weight * q).sum(-1) / weight.sum(-1)
        return v

    return backup


VALUES: dict[str, tuple[Backup, int]] = {
    "the best of the data's moves": (lambda q, _: q.amax(-1), 1),
    "DIVL, τ_base .6": (divl(DIVLConfig()), 1),
    "DIVL, τ_base .9": (divl(DIVLConfig(tau_base=0.9)), 1),
    "DIVL, τ_base .6, returns of 10 moves": (divl(DIVLConfig()), 10),
    "expectile .6": (expectile(0.6), 1),
    "expectile .9": (expectile(0.9), 1),
    "mean: play itself": (lambda q, share: (q * share).sum(-1), 1),
}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--size", type=int, default=11)
    size = options.parse_args().size
    grid = Grid.of(size)
    middle, far = (size // 2) * (size + 1), size * size - 1
    print("| bootstrap | V in the middle | V in the far corner | cells it finds the goal from |")
    print("|---|---|---|---|")
    for name, (backup, n) in VALUES.items():
        v, q = grid.value(backup, n)
        print(f"| {name} | {v[middle]:.3f} | {v[far]:.3f} | {grid.reached(q, 4 * size):.2f} |")


if __name__ == "__main__":
    main()
