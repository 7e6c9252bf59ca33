"""A point on a table, with play as OGBench's: trials cost nothing, so what a learner lacks can be looked for.

Only numpy is imported: both sides use it.
"""

from collections.abc import Sequence

import numpy as np

POINT = "point"
STEP = 0.05  # the furthest an action of 1 moves it; the table is [-1, 1] squared
GOAL = np.array([0.6, 0.5])
NEAR = 0.1
LIMIT = 100  # steps of a trial
NOISE = 0.4


class PointWorlds:
    """`Worlds` of points, in this process."""

    def __init__(self, count: int) -> None:
        self.count = count

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Far from the goal; see `Worlds`."""
        self._seen = np.stack([np.random.default_rng(seed).uniform(-1, 0, 2) for seed in seeds])
        self._over = np.zeros(len(seeds), bool)
        self._steps = 0
        return self._seen.astype(np.float32)

    def step(self, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Worlds`."""
        for action in chunks.transpose(1, 0, 2):
            self._seen = np.where(self._over[:, None], self._seen, _move(self._seen, action))
            self._over |= _at_goal(self._seen)
        self._steps += chunks.shape[1]
        over = self._over | (self._steps >= LIMIT)
        return self._seen.astype(np.float32), over, self._over.copy()

    def close(self) -> None:
        """Nothing to end."""


def play(trajectories: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Noisily from one random target to the next: a single task's file, as OGBench's loader compacts it."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(-1, 1, (trajectories, 2))
    target = rng.uniform(-1, 1, (trajectories, 2))
    seen = np.empty((trajectories, length + 1, 2))
    done = np.empty_like(seen)
    for t in range(length + 1):
        way = target - at
        far = np.linalg.norm(way, axis=1, keepdims=True)
        target = np.where(far < NEAR, rng.uniform(-1, 1, target.shape), target)
        noise = NOISE * rng.normal(size=way.shape)
        seen[:, t], done[:, t] = at, np.clip(way / np.maximum(far, STEP) + noise, -1, 1)
        at = _move(at, done[:, t])
    rows = np.arange(length + 1)
    masks = 1.0 - _at_goal(seen.reshape(-1, 2))
    columns = {
        "observations": seen.reshape(-1, 2),
        "actions": done.reshape(-1, 2),
        "terminals": np.tile(rows >= length - 1, trajectories),
        "valids": np.tile(rows < length, trajectories),
        "rewards": -masks,
        "masks": masks,
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def _move(at: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.clip(at + STEP * np.clip(action, -1, 1), -1, 1)


def _at_goal(at: np.ndarray) -> np.ndarray:
    return np.linalg.norm(at - GOAL, axis=-1) < NEAR
