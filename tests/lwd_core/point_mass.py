"""A point on a table, a simulator of a few lines: what a policy does there costs nothing to see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEP = 0.1  # the furthest an action of 1 moves it
GOAL = np.array([0.7, 0.6])
NEAR = 0.15
Chooser = Callable[[np.ndarray], np.ndarray]


def move(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Where actions (N, 2) in [-1, 1] take points (N, 2); the table is [-1, 1] squared."""
    return np.clip(position + STEP * np.clip(action, -1, 1), -1, 1)


def at(position: np.ndarray, goal: np.ndarray = GOAL) -> np.ndarray:
    """Whether points are at the goal."""
    return np.linalg.norm(position - goal, axis=-1) < NEAR


@dataclass(frozen=True)
class Outcome:
    """How trials went: share that reached the goal, mean return (-1 a step until there)."""

    success: float
    reward: float


def try_out(choose: Chooser, trials: int = 200, limit: int = 40, seed: int = 5) -> Outcome:
    """Start anywhere but near the goal; ``choose`` maps points (N, 2) to chunks (N, H, 2), executed whole."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(-1, 0.2, (trials, 2))
    done, steps = np.zeros(trials, bool), np.zeros(trials)
    chunk, used = np.zeros((trials, 0, 2)), 0
    for _ in range(limit):
        if used == chunk.shape[1]:
            chunk, used = choose(position), 0
        steps += ~done
        position = np.where(done[:, None], position, move(position, chunk[:, used]))
        used += 1
        done |= at(position)
    return Outcome(float(done.mean()), float(-steps.mean()))


def wander(position: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The behaviour that made the data: noisily towards a target of its own."""
    way = target - position
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    return np.clip(way / np.maximum(distance, STEP) + 0.4 * rng.normal(size=way.shape), -1, 1)


def ogbench(trajectories: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A play set in OGBench's single-task layout, as its loader compacts it: from target to target."""
    rng = np.random.default_rng(seed)
    position, target = rng.uniform(-1, 1, (2, trajectories, 2))
    seen, done = np.empty((trajectories, length + 1, 2)), np.empty((trajectories, length + 1, 2))
    for t in range(length + 1):
        arrived = at(position, target)[:, None]
        target = np.where(arrived, rng.uniform(-1, 1, target.shape), target)
        seen[:, t], done[:, t] = position, wander(position, target, rng)
        position = move(position, done[:, t])
    rows = np.arange(length + 1)
    masks = 1.0 - at(seen).reshape(-1)
    return {
        "observations": seen.reshape(-1, 2).astype(np.float32),
        "actions": done.reshape(-1, 2).astype(np.float32),
        "terminals": np.tile(rows >= length - 1, trajectories).astype(np.float32),
        "valids": np.tile(rows < length, trajectories).astype(np.float32),
        "rewards": (-masks).astype(np.float32),
        "masks": masks.astype(np.float32),
    }


def wanderer(seed: int = 7) -> Chooser:
    """The behaviour itself, for trials: one target for each point, a new one on arrival."""
    rng = np.random.default_rng(seed)
    targets: list[np.ndarray] = []

    def choose(position: np.ndarray) -> np.ndarray:
        if not targets:
            targets.append(rng.uniform(-1, 1, position.shape))
        fresh = rng.uniform(-1, 1, position.shape)
        targets[0] = np.where(at(position, targets[0])[:, None], fresh, targets[0])
        return wander(position, targets[0], rng)[:, None]

    return choose
