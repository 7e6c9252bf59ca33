"""Exact nearest neighbours by products of matrices, a block in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

#: Rows of a block of pairs.
BLOCK = 2048


@dataclass(frozen=True)
class Hit:
    """An episode, or a moment of it, and how near it is: ``score`` is 1 for the same and less for others.

    ``what`` says by what it was found, ``text`` which words.
    """

    episode_id: str
    score: float
    step: int | None = None
    what: str = ""
    text: str | None = None


@dataclass
class Best:
    """The nearest of each episode, of all that were offered the ``count`` nearest."""

    count: int
    _hits: dict[str, Hit] = field(default_factory=dict[str, Hit])

    def offer(self, episodes: Sequence[str], scores: Array, hit: Callable[[int], Hit]) -> None:
        """Of rows (N,) with their episodes; ``hit`` makes one of a row's number. Equal ones: the first."""
        order = np.argsort(-scores, kind="stable")
        names = np.asarray(episodes)[order]
        for i in order[np.sort(np.unique(names, return_index=True)[1])][: self.count].tolist():
            found = hit(i)
            known = self._hits.get(found.episode_id)
            if known is None or found.score > known.score:
                self._hits[found.episode_id] = found
        if len(self._hits) > 4 * self.count:
            self._hits = {found.episode_id: found for found in self.hits()}

    def hits(self) -> list[Hit]:
        """The nearest first; of equal ones whichever was offered first."""
        return sorted(self._hits.values(), key=lambda hit: -hit.score)[: self.count]


def unit(vectors: npt.ArrayLike) -> Array:
    """Rows (N, D) at length 1; what is 0 stays 0."""
    rows = np.asarray(vectors, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return cast(Array, rows / np.where(length > 0, length, 1))


def close_pairs(vectors: Array, within: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (i < j) of rows (N, D) whose distance is at most ``within``, with it."""
    sizes = np.einsum("nd,nd->n", vectors, vectors)
    for a in range(0, len(vectors), BLOCK):
        for b in range(a, len(vectors), BLOCK):
            left, right = vectors[a : a + BLOCK], vectors[b : b + BLOCK]
            squares = sizes[a : a + BLOCK, None] + sizes[b : b + BLOCK] - 2 * left @ right.T
            # a product of floats is only nearly that of a row with itself
            near = np.argwhere(squares <= within**2 + 1e-3 * (1 + sizes.max(initial=0)))
            for i, j in near[near[:, 0] + a < near[:, 1] + b].tolist():
                distance = float(np.linalg.norm(left[i] - right[j]))
                if distance <= within:
                    yield a + i, b + j, distance
