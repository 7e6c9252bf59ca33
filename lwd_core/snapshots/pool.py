"""Transitions in memory, gathered into batches: from rows, which are small, or from records, which are quick.

A *record* is a whole transition in one line of float32: state, next state, masked action chunk, reward,
discount, then the bits of three int32 (episode, frame, and packed: rows to the next state, frames of the
chunk, human) and, only where a snapshot has invalid frames, the chunk's mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lwd_core.snapshots.facts import EPISODE_COLUMNS, Facts
from lwd_core.snapshots.rows import PADDING, Rows
from lwd_core.snapshots.sequence import Strata

Arrays = dict[str, np.ndarray]

#: What a batch holds of each transition; `loader.TransitionLoader` tells shapes and units.
COLUMNS = (
    *("state", "next_state", "action", "mask", "reward", "discount", "frame", "next_frame", "human"),
    *EPISODE_COLUMNS,
)

#: The packed int32: bit 0 human, bits 1 to 11 the chunk's length, from bit 12 on the rows to the next state.
_LENGTHS, _AHEAD = 2**11 - 1, 12
#: Counts changes of the record's layout, so that an older cache is not misread.
RECORD = 2


class Pool(Protocol):
    """N transitions with ids 0 to N - 1."""

    def __len__(self) -> int: ...

    def strata(self) -> Strata:
        """Groups to draw tasks and buffers evenly."""
        ...

    def gather(self, ids: np.ndarray, columns: Sequence[str] = COLUMNS) -> Arrays:
        """The batch of these transitions (n,), in fresh memory."""
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
        action[short] *= mask[short, :, None]
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


@dataclass(frozen=True)
class Layout:
    """Where what lies in a record."""

    state: int
    chunk: int
    dims: int
    masked: bool

    @property
    def width(self) -> int:
        """float32 values of a record."""
        return 2 * self.state + self.chunk * self.dims + 5 + self.masked * self.chunk

    def views(self, records: np.ndarray) -> Arrays:
        """Parts of records (n, width), as views; ``episode``, ``frame``, ``tail`` are int32, others f32."""
        action = 2 * self.state
        rest = action + self.chunk * self.dims
        whole = records.view(np.int32)
        parts = {
            "state": records[:, : self.state],
            "next_state": records[:, self.state : action],
            "action": records[:, action:rest].reshape(len(records), self.chunk, self.dims),
            "reward": records[:, rest],
            "discount": records[:, rest + 1],
            "episode": whole[:, rest + 2],
            "frame": whole[:, rest + 3],
            "tail": whole[:, rest + 4],
        }
        if self.masked:
            parts["mask"] = records[:, rest + 5 :]
        return parts


class RecordPool:
    """Gathers from records (N, width): one read a transition."""

    def __init__(
        self, records: np.ndarray, layout: Layout, facts: Facts, only: np.ndarray | None = None
    ) -> None:
        """``only``: numbers of the records that count; all by default."""
        self._records, self._layout, self._facts, self._only = records, layout, facts, only
        self._masks = length_masks(layout.chunk)

    def __len__(self) -> int:
        return len(self._records) if self._only is None else len(self._only)

    def strata(self) -> Strata:
        episodes = self._layout.views(self._records)["episode"]
        return self._facts.strata(episodes if self._only is None else episodes[self._only])

    def gather(self, ids: np.ndarray, columns: Sequence[str] = COLUMNS) -> Arrays:
        found = self._layout.views(self._records.take(ids if self._only is None else self._only[ids], axis=0))
        tail, frame = found["tail"], found["frame"]
        if "frame" in columns:
            found["frame"] = frame.astype(np.int64)
        if "next_frame" in columns:
            found["next_frame"] = (frame + (tail >> _AHEAD)).astype(np.int64)
        if "human" in columns:
            found["human"] = (tail & 1).astype(bool)
        if "mask" in columns and not self._layout.masked:
            found["mask"] = self._masks.take((tail >> 1) & _LENGTHS, axis=0)
        found |= self._facts.of_episodes(found["episode"], columns)
        return {name: found[name] for name in columns}


def write_records(pool: RowPool, layout: Layout, records: np.ndarray, at_once: int = 1 << 14) -> None:
    """Write every transition of ``pool`` into ``records`` (N, width)."""
    for begin in range(0, len(pool), at_once):
        batch = pool.gather(np.arange(begin, min(begin + at_once, len(pool))))
        parts = layout.views(records[begin : begin + at_once])
        length = batch["mask"].sum(axis=1).astype(np.int32) if not layout.masked else 0
        ahead = batch["next_frame"] - batch["frame"]
        parts.pop("tail")[:] = (ahead << _AHEAD) + length * 2 + batch["human"]
        for name, part in parts.items():
            part[...] = batch[name]


def length_masks(chunk: int) -> np.ndarray:
    """Row n: ones on the first n of ``chunk`` frames."""
    return np.tri(chunk + 1, chunk, -1, dtype=np.float32)
