"""Frames that stay while others of their shard go: written to a new shard, and the rows that show them."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from lwd_core.lake.frames import rewritten
from lwd_core.storage.location import Location
from storage_schemas.tables import STEPS

# shard -> (new shard, new offset of each kept frame by its old one)
Moved = dict[str, tuple[str, dict[int, int]]]


def offsets(steps: pa.Table) -> dict[str, set[int]]:
    """Where the frames of these steps lie, by shard."""
    found: dict[str, set[int]] = {}
    for shown in steps["frames"].to_pylist():
        for frame in shown or ():
            found.setdefault(frame["shard"], set()).add(frame["offset"])
    return found


def move(place: Location, shards: Iterable[str], keep: Mapping[str, set[int]]) -> Moved:
    """Write the frames to keep of these shards to new ones; a shard that keeps none gets none.

    The new name follows from what is kept: the same again writes the same bytes to the same place.
    """
    moved: Moved = {}
    for shard in shards:
        if shard in keep:
            what = hashlib.sha256(repr(sorted(keep[shard])).encode()).hexdigest()[:16]
            new = shard.removesuffix(".tar") + f"-{what}.tar"
            moved[shard] = (new, rewritten(place, shard, new, keep[shard].__contains__))
    return moved


def repointed(steps: pa.Table, moved: Moved) -> pa.Table:
    """Steps that show the frames where they lie now."""
    if not moved:
        return steps
    frames = [shown and [_at(f, moved) for f in shown] for shown in steps["frames"].to_pylist()]
    column = pa.array(frames, STEPS.schema.field("frames").type)
    return steps.set_column(steps.column_names.index("frames"), STEPS.schema.field("frames"), column)


def _at(frame: dict[str, Any], moved: Moved) -> dict[str, Any]:
    if frame["shard"] not in moved:
        return frame
    shard, places = moved[frame["shard"]]
    return frame | {"shard": shard, "offset": places[frame["offset"]]}
