"""Transitions in memory, gathered into batches: here from rows, which are small.

`records` has the other way, which is quick.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from lwd_core.loader.episode_facts import EPISODE_COLUMNS, Facts
from lwd_core.loader.order import Strata
from lwd_core.snapshots.episode_arrays import PADDING, Rows

Arrays = dict[str, np.ndarray]
T = TypeVar("T")
Wrap = Callable[[np.ndarray], T]

#: What a batch holds of each transition; `loader.TransitionLoader` tells shapes and units.
COLUMNS = (
    *("state", "next_state", "action", "mask", "reward", "discount", "frame", "next_frame", "human"),
    *EPISODE_COLUMNS,
)


class Pool(Protocol):
    """N transitions with ids 0 to N - 1."""

    def __len__(self) -> int: ...

    def strata(self) -> Strata:
        """Groups to draw tasks and buffers evenly."""
        ...

    def ids(self, ranks: np.ndarray) -> np.ndarray:
        """Ids of transitions by their rank: episode after episode, frame after frame."""
        ...

    def gather(self, ids: np.ndarray, columns: Sequence[str] = COLUMNS) -> Arrays:
        """The batch of these transitions (n,), in fresh memory."""
        ...

    def batches(self, ids: np.ndarray, columns: Sequence[str], wrap: Wrap[T]) -> Iterator[dict[str, T]]:
        """The batches of these transitions (batches, B), as quick as they can be had one after the other.

        ``wrap`` makes of each array what the batch holds.
        """
        ...


class RowPool:
    """Gathers from rows: little more memory than the rows themselves, whatever the chunk."""

    def __init__(self, rows: Rows, transitions: np.ndarray, facts: Facts, chunk: int) -> None:
        self._transitions, self._state, self._facts = transitions, rows.state, facts
        self._valid = None if rows.valid.all() else np.append(rows.valid, np.zeros(PADDING, bool))
        self._dims, self._masks = rows.action.shape[1], length_masks(chunk)
        # item t is the memory of action[t : t + chunk] as one opaque value, so that numpy copies it whole
        self._windows = np.ndarray(
            len(rows), f"V{4 * self._dims * chunk}", rows.action.data, strides=(4 * self._dims,)
        )

    def __len__(self) -> int:
        return len(self._transitions)

    @property
    def masked(self) -> bool:
        """Whether masks are more than the chunk's length."""
        return self._valid is not None

    def strata(self) -> Strata:
        return self._facts.strata(self._transitions["episode"])

    def ids(self, ranks: np.ndarray) -> np.ndarray:
        return ranks

    def gather(self, ids: np.ndarray, columns: Sequence[str] = COLUMNS) -> Arrays:
        count, chunk = len(ids), len(self._masks) - 1
        chosen = self._transitions.take(ids)
        row, length = chosen["row"].astype(np.intp), chosen["length"]
        action = self._windows[row].view(np.float32).reshape(count, chunk, self._dims)
        mask = self._masks.take(length, axis=0)
        short = np.flatnonzero(length < chunk)
        if self._valid is not None:
            mask *= self._valid[row[:, None] + np.arange(chunk)]
            short = np.arange(count)
        # chosen, not multiplied: a masked frame may hold what is not a number
        action[short] = np.where(mask[short, :, None] > 0, action[short], np.float32(0))
        found = {
            "state": self._state.take(row, axis=0),
            "next_state": self._state.take(chosen["boot"], axis=0),
            "action": action,
            "mask": mask,
            "reward": chosen["reward"],
            "discount": chosen["discount"],
            "frame": chosen["frame"].astype(np.int64),
            "next_frame": chosen["frame"] + (chosen["boot"] - row),
            "human": chosen["human"].astype(bool),
            **self._facts.of_episodes(chosen["episode"], columns),
        }
        return {name: found[name] for name in columns}

    def batches(self, ids: np.ndarray, columns: Sequence[str], wrap: Wrap[T]) -> Iterator[dict[str, T]]:
        # all in one go: these are many small steps of numpy, whose fixed cost is shared
        found = self.gather(ids.reshape(-1), columns)
        parts = [a.reshape(*ids.shape, *a.shape[1:]) for a in found.values()]
        for part in zip(*parts, strict=True):
            yield dict(zip(columns, map(wrap, part), strict=True))


def length_masks(chunk: int) -> np.ndarray:
    """Row n: ones on the first n of ``chunk`` frames."""
    return np.tri(chunk + 1, chunk, -1, dtype=np.float32)
