"""Many episodes as a few long arrays: the pool that transitions are taken from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from storage_schemas.snapshot import Member
from storage_schemas.vocabulary import EpisodeEnd

#: Zero rows behind the last action, so that a chunk window never runs off the array; spec.chunk is no longer.
PADDING = 1024


@dataclass(frozen=True)
class Rows:
    """N rows of E episodes, one after the other; an episode's row T, if it has one, is its final state.

    state (N, S) f32; action (N + PADDING, D) f32, zero in final rows and beyond an episode's own dims;
    reward (N,) f32; human, valid, gap (N,) bool. Per episode (E,): first row, action steps T, rows R,
    terminated, and ``member``, its place in the manifest.
    """

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    human: np.ndarray
    valid: np.ndarray
    gap: np.ndarray
    first: np.ndarray
    steps: np.ndarray
    rows: np.ndarray
    terminated: np.ndarray
    member: np.ndarray

    def __len__(self) -> int:
        return len(self.state)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that grow with the number of rows."""
        return sum(a.nbytes for a in (self.state, self.action, self.reward, self.human, self.valid, self.gap))


#: The arrays of ``Rows`` with a row each, and their fill where an episode has none.
ROW_ARRAYS = {"state": 0.0, "action": 0.0, "reward": 0.0, "human": False, "valid": True, "gap": False}


def row_bytes(state_width: int, action_width: int) -> int:
    """Bytes of one row in memory."""
    return 4 * (state_width + action_width + 1) + 3


def allocate(count: int, state_width: int, action_width: int) -> dict[str, np.ndarray]:
    """Unfilled row arrays for ``count`` rows."""
    return {
        "state": np.empty((count, state_width), np.float32),
        "action": np.empty((count + PADDING, action_width), np.float32),
        "reward": np.empty(count, np.float32),
        "human": np.empty(count, bool),
        "valid": np.empty(count, bool),
        "gap": np.empty(count, bool),
    }


def fill(arrays: dict[str, np.ndarray], samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Copy the tensors of samples into the arrays, one episode after the other."""
    at = 0
    for tensors in samples:
        count = len(tensors["state"])
        for name, empty in ROW_ARRAYS.items():
            source, target = tensors[name], arrays[name][at : at + count]
            if source.shape == target.shape:
                target[...] = source
                continue
            target[len(source) :] = empty
            if source.ndim == 2 and source.shape[1] < target.shape[1]:
                target[:, source.shape[1] :] = empty
                target[: len(source), : source.shape[1]] = source
            else:
                target[: len(source)] = source
        at += count
    arrays["action"][at:] = 0


def assemble(arrays: dict[str, np.ndarray], members: Sequence[Member], places: Sequence[int]) -> Rows:
    """Rows over filled arrays; ``places`` are the members' indices in the manifest."""
    rows = np.array([m.rows for m in members], np.int64)
    return Rows(
        **arrays,
        first=np.cumsum(rows) - rows,
        steps=np.array([m.steps for m in members], np.int64),
        rows=rows,
        terminated=np.array([m.end == EpisodeEnd.TERMINATED for m in members], bool),
        member=np.asarray(places, np.int64),
    )
