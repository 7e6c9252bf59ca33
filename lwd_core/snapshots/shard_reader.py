"""The bytes of a snapshot's shards, checked as they are read."""

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence

import numpy as np

from lwd_core.errors import UserError
from lwd_core.snapshots.episode_arrays import Rows, allocate, assemble, fill
from lwd_core.snapshots.local_copy import DiskCache
from lwd_core.snapshots.sample import decode
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import Member, Shard


def load(snapshot: Snapshot, places: Sequence[int], disk: DiskCache | None = None) -> Rows:
    """The rows of these members (indices in the manifest, grouped by shard), each shard checked by its hash.

    ``disk`` keeps shards that come from a bucket. UserError names a shard that is missing or has other
    bytes than were built.
    """
    members = [snapshot.episodes[i] for i in places]
    count = sum(m.rows for m in members)
    manifest = snapshot.manifest
    arrays = allocate(count, manifest.state_width, manifest.action_width)
    fill(arrays, samples(snapshot, members, disk))
    return assemble(arrays, members, places)


def samples(
    snapshot: Snapshot, members: Sequence[Member], disk: DiskCache | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Tensors of these members, grouped by shard; a shard is read and checked when the first asks for it."""
    shards = {s.name: s for s in snapshot.manifest.shards}
    name, data = "", memoryview(b"")
    for member in members:
        if member.shard != name:
            name, data = member.shard, shard_bytes(snapshot, shards[member.shard], disk)
        yield decode(data[member.offset : member.offset + member.bytes])


def shard_bytes(snapshot: Snapshot, shard: Shard, disk: DiskCache | None = None) -> memoryview:
    """One whole shard, its hash checked; a local copy that went bad is fetched again."""
    try:
        data, digest = _read(snapshot, shard, disk)
        if digest != shard.sha256 and disk is not None:
            disk.forget(snapshot.place, f"{snapshot.digest}/{shard.name}")
            data, digest = _read(snapshot, shard, disk)
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"snapshot {snapshot.digest}: {shard.name} is missing or empty; build it again"
        ) from None
    if digest != shard.sha256:
        raise UserError(f"snapshot {snapshot.digest}: {shard.name} is damaged; build it again from its spec")
    return data


def _read(snapshot: Snapshot, shard: Shard, disk: DiskCache | None) -> tuple[memoryview, str]:
    """A shard's bytes and their sha256."""
    place, name = snapshot.place, f"{snapshot.digest}/{shard.name}"
    if place.remote and disk is None:
        data = memoryview(place.read(name))
        return data, hashlib.sha256(data).hexdigest()
    with disk.open(place, name) if place.remote and disk else open(place.path(name), "rb") as stream:
        data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        return data, _digest(data, os.fstat(stream.fileno()))


def _digest(data: memoryview, file: os.stat_result) -> str:
    """The sha256 of a file that is open; what was not written to since is not hashed again every epoch."""
    identity = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns)
    if identity not in _digests:
        _digests[identity] = hashlib.sha256(data).hexdigest()
    return _digests[identity]


#: By what tells a local file and its state.
_digests: dict[tuple[int, int, int, int], str] = {}
