"""Every transition of a snapshot as a line of one memory-mapped file, made once and shared by all processes.

    <cache>/<digest>/<split>-v<record layout>-<H>-<n>-<γ>-<stride>.npy

The file appears whole, by one rename. Deleting it is always safe.
"""

import mmap
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from lwd_core.errors import UserError
from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.packed import RECORD, RecordPool, record_type, write_records
from lwd_core.loader.pool import RowPool
from lwd_core.loader.transitions import Expansion
from lwd_core.snapshots.local_copy import cache_folder, drop_cache
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import MANIFEST

HEADER = 4096  # bytes before the first record
POPULATE_READ = 22  # MADV_POPULATE_READ, which the module mmap doesn't name yet


def cached(
    snapshot: Snapshot,
    split: str,
    expansion: Expansion,
    episode_columns: EpisodeColumns,
    places: Sequence[int],
    load: Callable[[list[int]], RowPool],
) -> RecordPool:
    """The transitions of the split's episodes ``places``, from the cache; made from ``load`` if not there.

    ``load`` gets all places of the split.
    """
    e, manifest = expansion, snapshot.manifest
    file = (
        cache_folder(snapshot.place, snapshot.digest)
        / f"{split}-v{RECORD}-{e.chunk}-{e.n_step}-{e.gamma!r}-{e.stride}.npy"
    )
    whole = [i for i, m in enumerate(snapshot.episodes) if m.split == split]
    types = [
        record_type(manifest.state_width, e.chunk, manifest.action_width, masked) for masked in (False, True)
    ]
    records = mapped(file, types)
    if records is None:
        pool = load(whole)
        _make(file, pool, types[pool.masked])
        records = mapped(file, types)
        if not snapshot.place.exists(snapshot.digest, MANIFEST):
            # withdrawn while we wrote; whoever withdraws drops the cache once more when the manifest is gone
            drop_cache(snapshot.place, snapshot.digest)
            raise UserError(
                f"snapshot {snapshot.digest}: withdrawn meanwhile, an episode was erased; use its successor"
            )
    assert records is not None
    only = np.flatnonzero(np.isin(records["episode"], places)) if len(places) < len(whole) else None
    return RecordPool(records, episode_columns, only)


def mapped(file: Path, types: list[np.dtype]) -> np.ndarray | None:
    """The records (N,) in ``file``, ready to be read at random; None if there are none of these types."""
    try:
        records = np.load(file, mmap_mode="r")
    except (FileNotFoundError, ValueError):
        return None
    if records.dtype not in types or records.ndim != 1:
        return None
    if isinstance(records.base, mmap.mmap):
        # Huge pages where the file system has them: random reads wait less for the pages' addresses. And all
        # pages at once: 25 ms for half a gigabyte, where one fault after the other costs the first epoch a
        # third of its speed. A kernel that knows one of them not goes without.
        for advice in (mmap.MADV_HUGEPAGE, POPULATE_READ):
            with suppress(OSError):
                records.base.madvise(advice)
    return np.asarray(records)


def _make(file: Path, pool: RowPool, kind: np.dtype) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid.uuid4().hex[:12]}.npy")
    try:
        with temporary.open("wb") as stream:
            stream.write(_header(kind, len(pool)))
            stream.truncate(stream.tell() + len(pool) * kind.itemsize)
        records = np.load(temporary, mmap_mode="r+")
        write_records(pool, records)
        records.flush()
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _header(kind: np.dtype, count: int) -> bytes:
    """The beginning of a .npy file of ``count`` records: one page, so that records begin at cache lines."""
    about = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    text = repr(about).encode().ljust(HEADER - 11) + b"\n"
    return np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text
