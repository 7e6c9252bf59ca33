"""Transitions as records: everything about one lies in one place of memory, so that a batch is one read each.

Gathering records at random costs mostly waiting for memory. So a record begins at a cache line, its page's
address is looked up ahead of its bytes, and one batch is gathered at a time, into memory that is still in
the processor's cache from the batch before.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.order import Strata
from lwd_core.loader.pool import Arrays, Columns, RowPool, T, Wrap, length_masks, named
from lwd_core.loader.transitions import aligned
from storage_schemas.snapshot_row import Take, uses

#: Counts changes of the record's layout, so that an older cache is not misread.
RECORD = 3
#: Bytes of a cache line; a record takes whole ones.
_LINE = 64


def record_type(state: int, chunk: int, action: int, masked: bool) -> np.dtype:
    """A record of these widths: columns of a batch by name, ``length`` frames of the chunk, ``ahead`` rows
    to the next state. It has a ``mask`` where frames can be invalid, so that the length doesn't tell it.
    """
    scalars, vectors = [], []
    for column, use in uses():
        shape = (*((chunk,) if use.take is Take.CHUNK else ()), *column.shape(state, action))
        kind = np.float32 if use.take is Take.RETURN else column.type.to_pandas_dtype()
        (vectors if shape else scalars).append((use.name, np.dtype(kind).newbyteorder("<"), shape))
    fields = [
        ("episode", "<i8", ()),
        ("frame", "<i8", ()),
        *vectors,
        *([("mask", "<f4", (chunk,))] if masked else []),
        *scalars,
        ("discount", "<f4", ()),
        ("ahead", "<i4", ()),
        ("length", "<i2", ()),
    ]
    # the widest numbers first, so that each lies at a multiple of its size
    return aligned(sorted(fields, key=lambda field: -np.dtype(field[1]).itemsize), _LINE)


class RecordPool:
    """Gathers from records (N,), which lie group after group as they are drawn, and by rank within a group.

    So the number drawn is the record's: no table of all records has to be looked into, at random as well.
    """

    def __init__(
        self, records: np.ndarray, episode_columns: EpisodeColumns, only: np.ndarray | None = None
    ) -> None:
        """``only``: numbers of the records that count; all by default."""
        self._records, self._episode_columns, self._only = records, episode_columns, only
        self._stored = frozenset(records.dtype.names or ())
        self._begins = records["episode"]
        # without fields, as numpy copies them quicker
        self._whole = records.view(np.dtype((np.void, records.dtype.itemsize)))
        self._masks = length_masks(records.dtype["action"].shape[0])

    def __len__(self) -> int:
        return len(self._records) if self._only is None else len(self._only)

    def strata(self) -> Strata:
        return self._episode_columns.strata(self._episodes())

    def ids(self, ranks: np.ndarray) -> np.ndarray:
        return self._ranked.take(ranks)

    @cached_property
    def _ranked(self) -> np.ndarray:
        order = np.argsort(self._episodes(), kind="stable")
        return order.astype(np.int32) if len(order) < 2**31 else order

    def gather(self, ids: np.ndarray, columns: Columns = None) -> Arrays:
        return next(self.batches(ids[None], named(columns), np.asarray))

    def batches(self, ids: np.ndarray, columns: Sequence[str], wrap: Wrap[T]) -> Iterator[dict[str, T]]:
        whole, begins, kind = self._whole, self._begins, self._records.dtype
        derived = [name for name in columns if name not in self._stored]

        def batch(numbers: np.ndarray) -> dict[str, T]:
            # One word of each record first: so many pages' addresses are looked up at a time, where whole
            # records fill the processor's queues. A tenth to a fifth less time in all.
            begins[numbers]
            chosen = whole.take(numbers).view(kind)
            if not derived:
                return {name: wrap(chosen[name]) for name in columns}
            found = self._derived(chosen, derived)
            return {name: wrap(found[name] if name in found else chosen[name]) for name in columns}

        # `map` keeps no batch once it is handed on, so that its memory can be the next one's
        return map(batch, ids if self._only is None else self._only[ids])

    def _episodes(self) -> np.ndarray:
        return self._begins if self._only is None else self._begins[self._only]

    def _derived(self, chosen: np.ndarray, columns: Sequence[str]) -> Arrays:
        found = self._episode_columns.of_episodes(chosen["episode"], columns)
        if "next_frame" in columns:
            found["next_frame"] = chosen["frame"] + chosen["ahead"]
        if "mask" in columns:
            found["mask"] = self._masks.take(chosen["length"], axis=0)
        return found


def write_records(pool: RowPool, records: np.ndarray, at_once: int = 1 << 14) -> None:
    """Write every transition of ``pool``, group after group, into ``records`` (N,)."""
    order = pool.strata().order if len(pool) else None
    for begin in range(0, len(pool), at_once):
        part = records[begin : begin + at_once]
        ids = np.arange(begin, begin + len(part)) if order is None else order[begin : begin + len(part)]
        batch = pool.gather(ids)
        batch["ahead"] = batch["next_frame"] - batch["frame"]
        batch["length"] = batch["mask"].sum(axis=1)
        for name in part.dtype.names or ():
            part[name] = batch[name]
