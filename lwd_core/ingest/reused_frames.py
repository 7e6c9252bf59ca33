"""The frames of a log that was read again: in their old shards where they are the same, else in new ones."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.ingest.staging import Staged
from lwd_core.lake.store import Lake
from storage_schemas.tables import FRAME, STEPS


class Shown(Exception):
    """A snapshot shows frames of the log that the new reading would not keep; the message says which."""


def shards_of(lake: Lake, log_id: str) -> set[str]:
    """Shards that the visible steps of a log point into."""
    return shards_in(lake.read("steps", columns=["frames"], where="log_id = ?", params=[log_id]))


def refilmed(lake: Lake, staged: Staged) -> Staged:
    """The log's rows, pointing into the shards it had wherever the new ones have the same bytes.

    Raises `Shown` where an old shard has no equal and a valid snapshot points into it.
    """
    old, new = shards_of(lake, staged.log_id), shards_in(staged.steps)
    if old == new:
        return staged
    known = {_digest(lake, shard): shard for shard in sorted(old)}
    moved = {shard: known[d] for shard in sorted(new) if (d := _digest(lake, shard)) in known}
    if not old <= {*moved.values(), *new}:
        shown = lake.sql(
            "SELECT min(digest) AS digest FROM snapshot_members m JOIN snapshots s USING (digest) "
            "WHERE m.log_id = ? AND s.state = 'valid' AND json_array_length(s.spec, '$.cameras') > 0",
            [staged.log_id],
        )["digest"][0].as_py()
        if shown:
            raise Shown(
                f"its frames would be others, and snapshot {shown[:12]} shows them; "
                "keep its cameras as they were"
            )
    return replace(staged, steps=_repointed(staged.steps, moved)) if moved else staged


def sweep(lake: Lake, log_id: str, keep: Collection[str], others: Collection[str]) -> None:
    """Delete the log's frame shards that are not to be kept, wherever such or ``others`` lie."""
    for folder in {str(PurePosixPath(shard).parent) for shard in (*keep, *others)}:
        for path in lake.fs.ls(lake.path(folder), detail=False):
            shard = lake.place.relative(path)
            if PurePosixPath(shard).name.startswith(f"{log_id[:32]}-") and shard not in keep:
                lake.place.remove(shard)


def shards_in(steps: pa.Table) -> set[str]:
    """Shards that steps point into."""
    flat = pc.list_flatten(steps["frames"].combine_chunks())
    flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    return set(pc.unique(pc.struct_field(flat, "shard")).to_pylist())


def _digest(lake: Lake, shard: str) -> str:
    with lake.fs.open(lake.path(shard), "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 23):
            digest.update(block)
    return digest.hexdigest()


def _repointed(steps: pa.Table, moved: Mapping[str, str]) -> pa.Table:
    """Steps whose frames lie where ``moved`` says."""
    lists = pa.concat_arrays(steps["frames"].chunks)
    flat = lists.flatten()
    at = pc.index_in(flat.field("shard"), value_set=pa.array(list(moved)))
    shard = pc.coalesce(pa.array(list(moved.values())).take(at), flat.field("shard"))
    parts = [shard if field.name == "shard" else flat.field(field.name) for field in FRAME]
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    column = pa.ListArray.from_arrays(
        offsets,
        pa.StructArray.from_arrays(parts, fields=list(FRAME)),
        type=pa.list_(FRAME),
        mask=lists.is_null(),
    )
    return steps.set_column(STEPS.names.index("frames"), STEPS.schema.field("frames"), column)
