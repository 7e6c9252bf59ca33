"""A pool of transitions in memory (or memory-mapped), and batches gathered from it."""

from dataclasses import dataclass

import numpy as np

from lwd_core.snapshots.rows import PADDING, Rows
from lwd_core.snapshots.sequence import Strata
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.transitions import expand
from storage_schemas.vocabulary import Source

SOURCES = list(Source)
_FACTS = ("instruction", "task", "source", "policy", "success", "embodiment")


@dataclass(frozen=True)
class Expansion:
    """How rows become transitions: H, chunks of a return, γ per frame, frames between starts."""

    chunk: int
    n_step: int
    gamma: float
    stride: int

    def of(self, rows: Rows) -> np.ndarray:
        """All transitions of the rows."""
        return expand(rows, chunk=self.chunk, n_step=self.n_step, gamma=self.gamma, stride=self.stride)


@dataclass(frozen=True)
class Facts:
    """What is true of an episode throughout: table (E, 6) i64 by place in the manifest.

    ``dims`` (embodiments, D) f32 is 1 on the action dims an embodiment has.
    ``group`` (E,) numbers the stratum (buffer, task) it is drawn in; ``share`` (G,) how often.
    """

    table: np.ndarray
    dims: np.ndarray
    group: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Facts":
        """The facts of a snapshot's episodes: indices into its sorted instructions, tasks, policies."""
        instructions = {text: i for i, text in enumerate(snapshot.instructions)}
        tasks = {name: i for i, name in enumerate(snapshot.tasks)}
        policies = {name: i for i, name in enumerate(snapshot.policies)}
        widths = {m.embodiment: m.action_width for m in snapshot.episodes}
        embodiments = {name: i for i, name in enumerate(sorted(widths))}
        buffers = {b.name: i for i, b in enumerate(snapshot.spec.buffers)}
        table = np.array(
            [
                (
                    instructions[m.instruction],
                    tasks[m.task],
                    SOURCES.index(Source(m.source)),
                    policies.get(m.policy_id or "", -1),
                    m.success,
                    embodiments[m.embodiment],
                )
                for m in snapshot.episodes
            ],
            np.int64,
        )
        dims = np.zeros((len(embodiments), snapshot.manifest.action_width), np.float32)
        for name, i in embodiments.items():
            dims[i, : widths[name]] = 1
        group = np.array(
            [buffers[m.buffer] * len(tasks) + tasks[m.task] for m in snapshot.episodes], np.int64
        )
        present = np.bincount(group, minlength=len(buffers) * len(tasks)) > 0
        share = np.zeros(len(present))
        for i, buffer in enumerate(snapshot.spec.buffers):
            mine = slice(i * len(tasks), (i + 1) * len(tasks))
            share[mine] = buffer.weight / max(1, present[mine].sum())
        return cls(table, dims, group, share)


class Pool:
    """Rows, their transitions, and how to draw and gather them."""

    def __init__(self, rows: Rows, transitions: np.ndarray, facts: Facts, chunk: int) -> None:
        if not len(transitions):
            raise ValueError("a pool without transitions")
        self.transitions = transitions
        self._state, self._facts, self._chunk = rows.state, facts, chunk
        self._valid = None if rows.valid.all() else np.append(rows.valid, np.zeros(PADDING, bool))
        dims = rows.action.shape[1]
        # item t is the memory of action[t : t + chunk] as one opaque value, so that numpy copies it whole
        self._windows = np.ndarray(
            len(rows), dtype=f"V{4 * dims * chunk}", buffer=rows.action.data, strides=(4 * dims,)
        )
        self._dims, self._frames = dims, np.arange(chunk, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.transitions)

    def strata(self) -> Strata:
        """Groups to draw tasks and buffers evenly."""
        return Strata.of(self._facts.group[self.transitions["episode"]], self._facts.share)

    def gather(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The batch of these transitions (n,), in fresh arrays."""
        count, chunk = len(ids), self._chunk
        chosen = self.transitions.take(ids)
        row, episode, length = chosen["row"].astype(np.intp), chosen["episode"], chosen["length"]
        action = self._windows[row].view(np.float32).reshape(count, chunk, self._dims)
        mask = np.ones((count, chunk), np.float32)
        if self._valid is None:
            short = np.flatnonzero(length < chunk)
            keep = (self._frames < length[short, None]).astype(np.float32)
        else:
            short = np.arange(count)
            keep = ((self._frames < length[:, None]) & self._valid[row[:, None] + self._frames]).astype(
                np.float32
            )
        mask[short] = keep
        action[short] *= keep[:, :, None]
        facts = self._facts.table.take(episode, axis=0)
        batch = {
            "state": self._state.take(row, axis=0),
            "next_state": self._state.take(chosen["boot"], axis=0),
            "action": action,
            "mask": mask,
            "reward": np.ascontiguousarray(chosen["reward"]),
            "discount": np.ascontiguousarray(chosen["discount"]),
            "action_dim_mask": self._dim_mask(facts[:, _FACTS.index("embodiment")]),
            "episode": episode.astype(np.int64),
            "frame": chosen["frame"].astype(np.int64),
            "human": chosen["human"].astype(bool),
        }
        for name in ("instruction", "task", "source", "policy"):
            batch[name] = facts[:, _FACTS.index(name)]
        batch["success"] = facts[:, _FACTS.index("success")].astype(bool)
        return batch

    def _dim_mask(self, embodiment: np.ndarray) -> np.ndarray:
        if len(self._facts.dims) == 1:
            return np.broadcast_to(self._facts.dims, (len(embodiment), self._dims)).copy()
        return self._facts.dims.take(embodiment, axis=0)
