"""Whether a snapshot still is what was built."""

from collections.abc import Iterator, Mapping

import numpy as np

from lwd_core.errors import UserError
from lwd_core.snapshots.frames import pin_frames
from lwd_core.snapshots.sample import decode
from lwd_core.snapshots.shard_reader import shard_bytes
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import Location
from storage_schemas import snapshot_row
from storage_schemas.snapshot import Member


def verify(root: str, digest: str, lake: Location | None = None) -> list[str]:
    """Faults in words, none if it is whole: every shard's bytes, every sample's place, tensors and counts.

    With ``lake``, also the frame shards there that it points into.
    """
    try:
        snapshot = Snapshot.open(root, digest, verify=False)
    except UserError as e:
        return [str(e)]
    faults = snapshot.faults()
    broken = {fault.split()[0] for fault in faults}
    for shard in snapshot.manifest.shards:
        if shard.name in broken:
            continue
        members = [m for m in snapshot.episodes if m.shard == shard.name]
        if len(members) != shard.episodes or sum(m.steps for m in members) != shard.steps:
            faults.append(f"{shard.name}: the manifest lists {len(members)} of {shard.episodes} episodes")
        data = shard_bytes(snapshot, shard)
        for member in members:
            try:
                tensors = decode(data[member.offset : member.offset + member.bytes])
            except ValueError as e:
                faults.append(f"{shard.name}: episode {member.episode_id}: {e}")
                continue
            faults += [f"{shard.name}: episode {member.episode_id} {why}" for why in _wrong(member, tensors)]
    return faults + (_frame_faults(snapshot, lake) if lake else [])


def _wrong(member: Member, tensors: Mapping[str, np.ndarray]) -> Iterator[str]:
    """In what an episode's tensors are not as described."""
    for column in snapshot_row.ROW:
        values = tensors.get(column.name)
        if values is None:
            if not column.optional:
                yield f"has no {column.name}"
            continue
        rows = member.steps if column.per_action else member.rows
        shape = (rows, *column.shape(member.state_width, member.action_width))
        if values.shape != shape:
            yield f"holds {column.name} of shape {values.shape} instead of {shape}"
        elif not np.isfinite(values).all():
            yield f"holds {column.name} with numbers that aren't finite"


def _frame_faults(snapshot: Snapshot, lake: Location) -> list[str]:
    faults = []
    for shard in snapshot.manifest.frame_shards:
        try:
            (found,) = pin_frames(lake, [shard.uri])
        except FileNotFoundError:
            faults.append(f"{shard.uri} is missing from the lake")
            continue
        if found != shard:
            faults.append(f"{shard.uri} has other bytes than when the snapshot was built")
    return faults
