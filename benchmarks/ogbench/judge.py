"""Trials of a policy, and arrays over a pipe: for both sides, so nothing but numpy is imported.

A policy acts in N worlds at once, each chunk executed whole, as QAM's code evaluates.
"""

import io
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol

import numpy as np

_LENGTH = 8

#: Observations (N, S) to chunks (N, H, D), in the environment's own units.
Act = Callable[[np.ndarray], np.ndarray]


class Worlds(Protocol):
    """N simulations side by side."""

    count: int

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin one trial a seed, at most ``count``; observations (len(seeds), S)."""
        ...

    def step(self, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Execute chunks (n, H, D): observations (n, S), over (n,), success (n,). What is over rests."""
        ...


def successes(worlds: Worlds, act: Act, seeds: Sequence[int]) -> list[bool]:
    """Whether each trial succeeds; the seed decides where it begins."""
    found: list[bool] = []
    for first in range(0, len(seeds), worlds.count):
        seen = worlds.reset(seeds[first : first + worlds.count])
        over = np.zeros(len(seen), bool)
        success = over
        while not over.all():
            seen, over, success = worlds.step(act(seen))
        found += success.tolist()
    return found


def send(stream: IO[bytes], *arrays: np.ndarray) -> None:
    """Write arrays, each in numpy's own format behind its length in bytes."""
    for array in arrays:
        told = io.BytesIO()
        np.save(told, array, allow_pickle=False)
        stream.write(len(told.getvalue()).to_bytes(_LENGTH, "big") + told.getvalue())
    stream.flush()


def receive(stream: IO[bytes]) -> np.ndarray[Any, Any]:
    """The next array. Raises EOFError when the other side is gone."""
    length = stream.read(_LENGTH)
    if len(length) < _LENGTH:
        raise EOFError("the other side is gone")
    return np.load(io.BytesIO(stream.read(int.from_bytes(length, "big"))), allow_pickle=False)
