"""The bytes of a snapshot's shards, checked as they are read."""

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lwd_core.errors import UserError
from lwd_core.snapshots.rows import Rows, allocate, assemble, fill
from lwd_core.snapshots.sample import decode
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import Member, Shard


def load(snapshot: Snapshot, places: Sequence[int], *, into: dict | None = None) -> Rows:
    """The rows of these members (indices in the manifest, grouped by shard), each shard checked by its hash.

    ``into`` takes arrays of the right size instead of fresh ones. UserError names a shard that is missing
    or has other bytes than were built.
    """
    members = [snapshot.episodes[i] for i in places]
    count = sum(m.rows for m in members)
    manifest = snapshot.manifest
    arrays = into or allocate(count, manifest.state_width, manifest.action_width)
    fill(arrays, samples(snapshot, members))
    return assemble(arrays, members, places)


def samples(snapshot: Snapshot, members: Sequence[Member]) -> Iterator[dict[str, np.ndarray]]:
    """Tensors of these members, grouped by shard; a shard is read and checked when the first asks for it."""
    shards = {s.name: s for s in snapshot.manifest.shards}
    name, data = "", memoryview(b"")
    for member in members:
        if member.shard != name:
            name, data = member.shard, shard_bytes(snapshot, shards[member.shard])
        yield decode(data[member.offset : member.offset + member.bytes])


def shard_bytes(snapshot: Snapshot, shard: Shard) -> memoryview:
    """One whole shard, its hash checked."""
    path = snapshot.path(shard.name)
    try:
        if snapshot.place.remote:
            data = memoryview(snapshot.place.fs.cat_file(path))
        else:
            with Path(path).open("rb") as stream:
                data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"snapshot {snapshot.digest}: {shard.name} is missing or empty; build it again"
        ) from None
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise UserError(f"snapshot {snapshot.digest}: {shard.name} is damaged; build it again from its spec")
    return data
