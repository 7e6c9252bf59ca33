"""Snapshots after an erasure: the same set without the erased episodes, under a new digest.

The successor is made from the old shards, not from the lake, whose old versions an erasure
removes. Killed anywhere, the same call again finishes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import ErasedMeanwhile
from lwd_core.snapshots.frames import pin_frames
from lwd_core.snapshots.manifest import counts_of
from lwd_core.snapshots.publish import Staging, release, remove_bytes
from lwd_core.snapshots.sample import decode, encode
from lwd_core.snapshots.shard_writer import ShardWriter
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.statistics import NoRows, Statistics
from lwd_core.storage.location import Location, open_location
from storage_schemas.snapshot import MANIFEST, FrameShard, Manifest, Member
from storage_schemas.tables import SNAPSHOTS
from storage_schemas.vocabulary import SnapshotState, Split

#: Frame shards that an erasure rewrote: old name to new name and each kept frame's new offset by its old one.
MovedFrames = Mapping[str, tuple[str, Mapping[int, int]]]


@dataclass(frozen=True)
class Reissued:
    """A snapshot that was withdrawn and what replaces it; None where nothing to train on is left."""

    withdrawn: str
    successor: str | None


def reissue_all(
    lake: Lake, root: str, *, erased: Collection[str], moved: MovedFrames | None = None, now_ns: int
) -> dict[str, str | None]:
    """Reissue every snapshot under ``root`` that an erasure touches; its successor by its digest, or None."""
    return {
        digest: reissue(lake, root, digest, erased=erased, moved=moved, now_ns=now_ns).successor
        for digest in affected(lake, root, erased, moved)
    }


def affected(lake: Lake, root: str, erased: Collection[str], moved: MovedFrames | None = None) -> list[str]:
    """Digests of snapshots whose bytes hold an erased episode or point into a rewritten frame shard.

    Those that a build cut off left published and not registered are among them.
    """
    digests = lake.read("snapshots", columns=["digest"], where="true ORDER BY created_ns").column("digest")
    place = open_location(root)
    names = (
        [path.rstrip("/").rsplit("/", 1)[-1] for path in place.fs.ls(place.root, detail=False)]
        if place.exists()
        else []
    )
    found = []
    for digest in dict.fromkeys([*digests.to_pylist(), *(n for n in sorted(names) if len(n) == 64)]):
        if not place.exists(digest, MANIFEST):
            continue
        try:
            manifest = _manifest(place, digest)
        except ValueError:
            continue  # damaged; the search of its bytes says what it holds
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

    The members that stay keep their order and split; norm statistics are taken anew. One whose shards are
    damaged, or that was never registered, gets no successor.
    """
    place = open_location(root)
    rows = lake.read("snapshots", where="digest = ?", params=[digest]).to_pylist()
    successor = rows[0]["successor"] if rows else None
    if (
        rows and rows[0]["state"] != SnapshotState.WITHDRAWN
    ):  # else an earlier call was cut off while removing
        successor = _successor(lake, root, digest, erased, moved or {}, now_ns)
        row = rows[0] | {"state": SnapshotState.WITHDRAWN.value, "successor": successor}
        lake.replace("snapshots", pa.Table.from_pylist([row], schema=SNAPSHOTS.schema), {"digest": [digest]})
    if place.exists(digest, MANIFEST):
        remove_bytes(place, _manifest(place, digest))
    return Reissued(digest, successor)


def _successor(
    lake: Lake, root: str, digest: str, erased: Collection[str], moved: MovedFrames, now_ns: int
) -> str | None:
    """Build and register the snapshot without the episodes; None where nothing to train on is left."""
    place = open_location(root)
    try:
        old = Snapshot.open(root, digest)
    except UserError:
        return None  # damaged: an erasure doesn't wait for that
    while True:
        also = lake.tombstones.buried(member.episode_id for member in old.episodes)
        staying = [m for m in old.episodes if m.episode_id not in erased and m.episode_id not in also]
        if not any(member.split == Split.TRAIN for member in staying):
            return None
        staging = Staging(place, now_ns)
        try:
            manifest = _without(lake, old, staying, moved, staging)
            release(lake, staging, manifest, place, now_ns)
            return manifest.digest
        except ErasedMeanwhile:
            continue  # by another erasure
        except NoRows:
            return None  # what stays has no valid row: nothing to train on is left
        finally:
            staging.discard()


def _without(
    lake: Lake, old: Snapshot, staying: list[Member], moved: MovedFrames, staging: Staging
) -> Manifest:
    limit = int(old.spec.shard_mb * 1_000_000)
    writers = {split: ShardWriter(split, limit, staging.put) for split in (Split.TRAIN, Split.HOLDOUT)}
    stats = Statistics()
    frames = _Frames(old.manifest.frame_shards, moved)
    members: list[Member] = []
    for member, tensors in _samples(old, staying):
        tensors = frames.repointed(tensors)
        if member.split == Split.TRAIN:
            stats.add(member.embodiment, tensors)
        put = writers[Split(member.split)].add(
            f"{member.episode_id}.safetensors", encode(tensors), member.steps
        )
        members.append(replace(member, shard=put.shard, index=put.index, offset=put.offset, bytes=put.bytes))
    for writer in writers.values():
        writer.close()
    return replace(
        old.manifest,
        counts=counts_of(members)
        | {name: old.manifest.counts[name] for name in ("frame_sizes",) if name in old.manifest.counts},
        stats=stats.result(),
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


def _manifest(place: Location, digest: str) -> Manifest:
    return Manifest.from_bytes(place.read(digest, MANIFEST))
