"""What is true of an episode throughout, as numbers a batch can carry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwd_core.loader.order import Strata
from lwd_core.snapshots.spec import Buffer
from storage_schemas.snapshot import Member
from storage_schemas.vocabulary import Source

SOURCES = list(Source)
Names = tuple[Sequence[str], Sequence[str], Sequence[str]]
_COLUMNS = ("instruction", "task", "source", "policy", "success")
_TABLE = frozenset(_COLUMNS)


@dataclass(frozen=True)
class EpisodeColumns:
    """Tables by place in the manifest.

    table (E, 5) i64: instruction, task, source, policy (-1: none), success; embodiment (E,);
    dims (embodiments, D) f32, 1 on the action dims an embodiment has; group (E,), the stratum (buffer,
    task) an episode is drawn in; share (G,), how often.
    """

    table: np.ndarray
    embodiment: np.ndarray
    dims: np.ndarray
    group: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, members: Sequence[Member], buffers: Sequence[Buffer], names: Names) -> "EpisodeColumns":
        """Those of these episodes; ``names``: the instructions, tasks and policies that numbers count in."""
        instructions, tasks, policies = map(_numbers, names)
        sources = _numbers([str(s) for s in SOURCES])
        widths = {m.embodiment: m.action_width for m in members}
        embodiments = _numbers(sorted(widths))
        dims = np.zeros((len(embodiments), max(widths.values())), np.float32)
        for name, i in embodiments.items():
            dims[i, : widths[name]] = 1

        def row(m: Member) -> tuple[int, ...]:
            policy = policies[m.policy_id] if m.policy_id else -1
            return instructions[m.instruction], tasks[m.task], sources[m.source], policy, m.success

        places = _numbers([b.name for b in buffers])
        group = np.array([places[m.buffer] * len(tasks) + tasks[m.task] for m in members], np.int64)
        present = (np.bincount(group, minlength=len(buffers) * len(tasks)) > 0).reshape(len(buffers), -1)
        weight = np.array([[b.weight] for b in buffers])
        return cls(
            table=np.array([row(m) for m in members], np.int64),
            embodiment=np.array([embodiments[m.embodiment] for m in members], np.int64),
            dims=dims,
            group=group,
            share=(weight * present / np.maximum(1, present.sum(axis=1, keepdims=True))).ravel(),
        )

    def strata(self, episode: np.ndarray) -> Strata:
        """Groups of transitions (N,) given by their episode."""
        return Strata.of(self.group[episode], self.share)

    def of_episodes(self, episode: np.ndarray, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of ``columns`` that are true of whole episodes, for transitions of these episodes (n,)."""
        found: dict[str, np.ndarray] = {}
        if not _TABLE.isdisjoint(columns):
            table = self.table.take(episode, axis=0)
            found = {name: table[:, i] for i, name in enumerate(_COLUMNS)}
            found["success"] = found["success"].astype(bool)
        if "episode" in columns:
            found["episode"] = episode.astype(np.int64)
        if "action_dim_mask" in columns:
            if len(self.dims) == 1:
                found["action_dim_mask"] = np.repeat(self.dims, len(episode), axis=0)
            else:
                found["action_dim_mask"] = self.dims.take(self.embodiment.take(episode), axis=0)
        return found


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}
