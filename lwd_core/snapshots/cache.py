"""Every transition of a snapshot as a line of one memory-mapped file, made once and shared by all processes.

    <cache>/<digest>/<split>-v<record layout>-<H>-<n>-<γ>-<stride>.npy

The file appears whole, by one rename. Deleting it is always safe.
"""

import mmap
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from lwd_core.lake.place import Place
from lwd_core.snapshots.facts import Facts
from lwd_core.snapshots.fetch import OBJECTS, cache_home
from lwd_core.snapshots.pool import RECORD, Layout, RecordPool, RowPool, write_records
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.transitions import Expansion

POPULATE_READ = 22  # MADV_POPULATE_READ, which the module mmap doesn't name yet


def cache_folder(place: Place, digest: str) -> Path:
    """Where a snapshot's cache lies: beside it, or under LWD_HOME if it lies in a bucket."""
    return (cache_home() if place.remote else Path(place.root) / ".cache") / digest


def drop_cache(place: Place, digest: str) -> None:
    """Delete what is cached of a snapshot here; readers that have it open keep their bytes until they end."""
    shutil.rmtree(cache_folder(place, digest), ignore_errors=True)
    if place.remote:
        shutil.rmtree(cache_home() / OBJECTS, ignore_errors=True)


def cached(
    snapshot: Snapshot,
    split: str,
    expansion: Expansion,
    facts: Facts,
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
    layouts = [
        Layout(manifest.state_width, e.chunk, manifest.action_width, masked) for masked in (False, True)
    ]
    records = _mapped(file, layouts)
    if records is None:
        pool = load(whole)
        _make(file, pool, layouts[pool.masked])
        records = _mapped(file, layouts)
    assert records is not None
    layout = next(x for x in layouts if x.width == records.shape[1])
    only = None
    if len(places) < len(whole):
        only = np.flatnonzero(np.isin(layout.views(records)["episode"], places))
    return RecordPool(records, layout, facts, only)


def _mapped(file: Path, layouts: list[Layout]) -> np.ndarray | None:
    try:
        records = np.load(file, mmap_mode="r")
    except (FileNotFoundError, ValueError):
        return None
    if records.dtype != np.float32 or records.shape[1] not in [x.width for x in layouts]:
        return None
    if isinstance(records.base, mmap.mmap):
        # All pages at once: 25 ms for half a gigabyte, where one fault after the other costs the first
        # epoch a third of its speed. Linux before 5.14 refuses, and goes without.
        with suppress(OSError):
            records.base.madvise(POPULATE_READ)
    return np.asarray(records)


def _make(file: Path, pool: RowPool, layout: Layout) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid.uuid4().hex[:12]}.npy")
    try:
        shape = (len(pool), layout.width)
        records = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        write_records(pool, layout, records)
        records.flush()
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
