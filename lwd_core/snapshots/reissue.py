"""Snapshots after an erasure: the same set without the erased episodes, under a new digest.

The successor is made from the old shards, not from the lake, whose old versions an erasure
removes. Killed anywhere, the same call again finishes.
"""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lwd_core.lake.place import Place, open_place
from lwd_core.lake.store import Lake
from lwd_core.snapshots.cache import drop_cache
from lwd_core.snapshots.frames import pin_frames
from lwd_core.snapshots.members import counts_of
from lwd_core.snapshots.moments import MomentsAccumulator
from lwd_core.snapshots.publish import Staging, register
from lwd_core.snapshots.sample import decode, encode
from lwd_core.snapshots.shards import ShardWriter
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import MANIFEST, FrameShard, Manifest, Member, Moments
from storage_schemas.tables import SNAPSHOTS
from storage_schemas.vocabulary import SnapshotState, Split

#: Frame shards that an erasure rewrote: old name to new name and each kept frame's new offset by its old one.
MovedFrames = Mapping[str, tuple[str, Mapping[int, int]]]


@dataclass(frozen=True)
class Reissued:
    """A snapshot that was withdrawn and what replaces it; None where nothing to train on is left."""

    withdrawn: str
    successor: str | None


def affected(lake: Lake, root: str, erased: Collection[str], moved: MovedFrames | None = None) -> list[str]:
    """Digests of snapshots whose bytes hold an erased episode or point into a rewritten frame shard."""
    digests = lake.read("snapshots", columns=["digest"], where="true ORDER BY created_ns").column("digest")
    place = open_place(root)
    found = []
    for digest in digests.to_pylist():
        if not place.exists(digest, MANIFEST):
            continue
        manifest = _manifest(place, digest)
        holds = any(member.episode_id in erased for member in manifest.episodes)
        if holds or any(shard.uri in (moved or {}) for shard in manifest.frame_shards):
            found.append(digest)
    return found


def reissue(
    lake: Lake,
    root: str,
    digest: str,
    *,
    erased: Collection[str],
    moved: MovedFrames | None = None,
    now_ns: int,
) -> Reissued:
    """Replace one snapshot: build and register its successor, withdraw it, remove its bytes.

    The members that stay keep their order and split; norm statistics are taken anew. Raises
    UserError where the old shards are damaged.
    """
    place = open_place(root)
    row = lake.read("snapshots", where="digest = ?", params=[digest]).to_pylist()[0]
    if row["state"] == SnapshotState.WITHDRAWN:  # an earlier call was cut off while removing
        if place.exists(digest, MANIFEST):
            _remove(place, _manifest(place, digest), digest)
        return Reissued(digest, row["successor"])
    old = Snapshot.open(root, digest)
    staying = [member for member in old.episodes if member.episode_id not in erased]
    successor = None
    if any(member.split == Split.TRAIN for member in staying):
        staging = Staging(place, now_ns)
        try:
            manifest = _without(lake, old, staying, moved or {}, staging)
            staging.publish(manifest)
        finally:
            staging.discard()
        successor = manifest.digest
        register(lake, manifest, now_ns)
    row |= {"state": SnapshotState.WITHDRAWN.value, "successor": successor}
    lake.replace("snapshots", pa.Table.from_pylist([row], schema=SNAPSHOTS.schema), {"digest": [digest]})
    _remove(place, old.manifest, digest)
    return Reissued(digest, successor)


def _without(
    lake: Lake, old: Snapshot, staying: list[Member], moved: MovedFrames, staging: Staging
) -> Manifest:
    limit = int(old.spec.shard_mb * 1_000_000)
    writers = {split: ShardWriter(split, limit, staging.put) for split in (Split.TRAIN, Split.HOLDOUT)}
    stats: dict[str, dict[str, MomentsAccumulator]] = {}
    frames = _Frames(old.manifest.frame_shards, moved)
    members: list[Member] = []
    for member, tensors in _samples(old, staying):
        tensors = frames.repointed(tensors)
        if member.split == Split.TRAIN:
            _add(stats, member, tensors)
        put = writers[Split(member.split)].add(
            f"{member.episode_id}.safetensors", encode(tensors), member.steps
        )
        members.append(replace(member, shard=put.shard, index=put.index, offset=put.offset, bytes=put.bytes))
    for writer in writers.values():
        writer.close()
    moments: dict[str, dict[str, Moments]] = {
        embodiment: {name: part.result() for name, part in parts.items()}
        for embodiment, parts in stats.items()
    }
    return replace(
        old.manifest,
        counts=counts_of(members),
        stats=moments,
        shards=tuple(s for w in writers.values() for s in w.shards),
        frame_shards=pin_frames(lake.place, frames.uris),
        episodes=tuple(members),
        state_width=max(m.state_width for m in members),
        action_width=max(m.action_width for m in members),
    )


def _samples(old: Snapshot, members: list[Member]) -> Iterator[tuple[Member, dict[str, np.ndarray]]]:
    """Members with their tensors; one shard in memory at a time."""
    name, data = "", b""
    for member in members:
        if member.shard != name:
            name, data = member.shard, old.place.read(old.digest, member.shard)
        yield member, decode(memoryview(data)[member.offset : member.offset + member.bytes])


class _Frames:
    """Frame shards under new names, numbers and offsets; those no episode shows any more fall away."""

    def __init__(self, shards: Sequence[FrameShard], moved: MovedFrames) -> None:
        self._moves = [moved.get(shard.uri, (shard.uri, None)) for shard in shards]
        self._numbers: dict[int, int] = {}

    @property
    def uris(self) -> list[str]:
        """Shards by new number."""
        return [self._moves[old][0] for old in self._numbers]

    def repointed(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One episode's tensors, pointing to where its frames lie now."""
        if "frame_shard" not in tensors:
            return tensors
        shard, offset = tensors["frame_shard"].copy(), tensors["frame_offset"].copy()
        for old in np.unique(tensors["frame_shard"]).tolist():
            if old < 0:
                continue
            here = tensors["frame_shard"] == old
            shard[here] = self._numbers.setdefault(old, len(self._numbers))
            offsets = self._moves[old][1]
            if offsets is not None:
                offset[here] = [offsets[at] for at in offset[here].tolist()]
        return tensors | {"frame_shard": shard, "frame_offset": offset}


def _add(
    stats: dict[str, dict[str, MomentsAccumulator]], member: Member, tensors: dict[str, np.ndarray]
) -> None:
    parts = stats.setdefault(
        member.embodiment,
        {"state": MomentsAccumulator(member.state_width), "action": MomentsAccumulator(member.action_width)},
    )
    parts["state"].add(tensors["state"][tensors["valid"]])
    parts["action"].add(tensors["action"][tensors["valid"][: member.steps]])


def _manifest(place: Place, digest: str) -> Manifest:
    return Manifest.from_bytes(place.read(digest, MANIFEST))


def _remove(place: Place, manifest: Manifest, digest: str) -> None:
    """Delete a snapshot's bytes, the manifest last: while it stands, the folder is still found."""
    drop_cache(place, digest)
    for shard in manifest.shards:
        place.remove(digest, shard.name)
    place.remove(digest, MANIFEST)
    if not place.remote:
        shutil.rmtree(Path(place.path(digest)), ignore_errors=True)
