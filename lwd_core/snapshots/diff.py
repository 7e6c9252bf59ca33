"""In what two snapshots differ, in words a person decides by."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lwd_core.snapshots.sample import decode
from lwd_core.snapshots.shard_reader import shard_bytes
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas import snapshot_row
from storage_schemas.snapshot import Member
from storage_schemas.snapshot_row import FromLabels

_BY = ("robot_id", "site", "task", "source", "outcome", "embodiment", "split", "policy_id")
_PLACE = {"shard", "index", "offset", "bytes"}


@dataclass(frozen=True)
class Difference:
    """From snapshot a to snapshot b.

    spec, versions: field -> (a, b). only_a, only_b: episode ids. by: column -> value -> (episodes in
    a, in b), where they differ. facts: episode id -> column -> (a, b). labels, steps: episodes in both whose
    rewards, or other tensors, differ. stats: embodiment.vector -> largest shift of a mean in standard
    deviations of a.
    """

    spec: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    versions: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    by: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    facts: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    stats: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(asdict(self).values())


def diff(a: Snapshot, b: Snapshot) -> Difference:
    """Compare two snapshots; shards are read for the episodes both hold."""
    if a.digest == b.digest:
        return Difference()
    mine, other = ({m.episode_id: m for m in s.episodes} for s in (a, b))
    shared = sorted(mine.keys() & other.keys())
    facts = {i: _changes(_facts(mine[i]), _facts(other[i])) for i in shared}
    labels, steps = _contents(a, b, shared)
    return Difference(
        spec=_changes(dict(a.manifest.spec), dict(b.manifest.spec)),
        versions=_changes(dict(a.manifest.versions), dict(b.manifest.versions)),
        only_a=sorted(mine.keys() - other.keys()),
        only_b=sorted(other.keys() - mine.keys()),
        by={name: changed for name in _BY if (changed := _counted(a, b, name))},
        facts={i: changed for i, changed in facts.items() if changed},
        labels=labels,
        steps=steps,
        stats=_shifts(a, b),
    )


def other_rewards(a: Snapshot, b: Snapshot) -> list[str]:
    """Episodes in both snapshots whose rewards differ; shards are read."""
    shared = {m.episode_id for m in a.episodes} & {m.episode_id for m in b.episodes}
    return _contents(a, b, sorted(shared))[0]


def _changes(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {k: (a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)}


def _facts(member: Member) -> dict[str, Any]:
    return {k: v for k, v in asdict(member).items() if k not in _PLACE}


def _counted(a: Snapshot, b: Snapshot, name: str) -> dict[str, tuple[int, int]]:
    mine, other = (Counter(str(getattr(m, name)) for m in s.episodes) for s in (a, b))
    return {k: (mine[k], other[k]) for k in sorted(mine | other) if mine[k] != other[k]}


def _contents(a: Snapshot, b: Snapshot, shared: list[str]) -> tuple[list[str], list[str]]:
    """Episodes whose rewards differ, and those of which anything else does; a shard of each in memory."""
    labels, steps = [], []
    told = {column.name for column in snapshot_row.ROW if isinstance(column.source, FromLabels)}
    wanted = set(shared)
    theirs = {m.episode_id: m for m in b.episodes if m.episode_id in wanted}
    samples_a, samples_b = _Samples(a), _Samples(b)
    for member in a.episodes:
        if member.episode_id not in wanted:
            continue
        x, y = samples_a.of(member), samples_b.of(theirs[member.episode_id])
        other = {name for name in x.keys() | y.keys() if not _equal(x.get(name), y.get(name))}
        if other & told:
            labels.append(member.episode_id)
        if other - told:
            steps.append(member.episode_id)
    return sorted(labels), sorted(steps)


class _Samples:
    """Samples of a snapshot, the shard of the last one kept."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._name, self._data = snapshot, "", memoryview(b"")
        self._shards = {s.name: s for s in snapshot.manifest.shards}

    def of(self, member: Member) -> dict[str, np.ndarray]:
        if member.shard != self._name:
            self._name = member.shard
            self._data = shard_bytes(self._snapshot, self._shards[member.shard])
        return decode(self._data[member.offset : member.offset + member.bytes])


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _shifts(a: Snapshot, b: Snapshot) -> dict[str, float]:
    shifts = {}
    for embodiment in sorted(a.manifest.stats.keys() & b.manifest.stats.keys()):
        mine, other = a.stats_of(embodiment), b.stats_of(embodiment)
        for name in mine:
            delta = np.abs(other[name]["mean"] - mine[name]["mean"]) / np.maximum(mine[name]["std"], 1e-6)
            if delta.max() > 0:
                shifts[f"{embodiment}.{name}"] = float(delta.max())
    return shifts
