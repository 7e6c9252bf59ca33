"""From step to pool and transitions: one pool that holds everything, or one after the other, as scheduled."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.loader.cache import cached
from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.order import SEQUENCE, Strata, shuffled
from lwd_core.loader.packed import record_type
from lwd_core.loader.pool import Pool, RowPool
from lwd_core.loader.schedule import Span, SpanSchedule
from lwd_core.loader.transitions import Expansion
from lwd_core.snapshots.episode_arrays import row_bytes
from lwd_core.snapshots.local_copy import OBJECTS, DiskCache, cache_home
from lwd_core.snapshots.shard_reader import load
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import Member
from storage_schemas.vocabulary import Split

#: Batches made at a time.
BLOCK = 16
#: Samples drawn at a time. Wide multiplications slow some processors down for a millisecond after; so do they
#: seldom: an eighth to a sixth less time for batches from records.
DRAWN = 1 << 16


@dataclass(frozen=True)
class Block:
    """Consecutive batches: ids (batches, B) into the pool, the first of them step ``step``."""

    step: int
    ids: np.ndarray
    pool: Pool


class Sampler:
    """Draws blocks for any step; keeps the pool in use, and the next one where ``ahead``."""

    def __init__(
        self,
        snapshot: Snapshot,
        expansion: Expansion,
        batch_size: int,
        seed: int,
        *,
        balanced: bool,
        split: str,
        where: Callable[[Member], bool] | None,
        memory_limit: int,
        pool_bytes: int,
        cache: bool,
        disk_limit: int,
        ahead: bool,
    ) -> None:
        self._snapshot, self._expansion = snapshot, expansion
        self._batch, self._seed, self._balanced, self._split = batch_size, seed, balanced, split
        self._places: dict[str, list[int]] = {}
        for place, member in enumerate(snapshot.episodes):
            if member.split == split and (where is None or where(member)):
                self._places.setdefault(member.shard, []).append(place)
        if not self._places:
            none_held_out = split == Split.HOLDOUT and not snapshot.spec.holdout
            remedy = "; its spec holds none out, `holdout: 0.1` would" if none_held_out else ""
            raise UserError(f"snapshot {snapshot.digest}: no episode of split {str(split)!r} fits{remedy}")
        self._episode_columns = EpisodeColumns.of(
            snapshot.episodes,
            snapshot.spec.buffers,
            (snapshot.instructions, snapshot.tasks, snapshot.policies),
        )
        manifest = snapshot.manifest
        width = row_bytes(manifest.state_width, manifest.action_width)
        self._rows = {s: sum(snapshot.episodes[i].rows for i in p) for s, p in self._places.items()}
        total = sum(self._rows.values()) * width
        self._pool_rows = None if total <= memory_limit else max(1, pool_bytes // width)
        record = record_type(manifest.state_width, expansion.chunk, manifest.action_width, False).itemsize
        self._records = cache and sum(self._rows.values()) * record // expansion.stride <= memory_limit
        remote = snapshot.place.remote
        self._disk = DiskCache(cache_home() / OBJECTS, disk_limit) if remote else None
        self._ahead = ahead
        self._lock = threading.Lock()
        self._loader = ThreadPoolExecutor(1, "pool")
        self._pools: dict[tuple[str, ...], Future[_Loaded]] = {}
        steps = {s: sum(snapshot.episodes[i].steps for i in p) for s, p in self._places.items()}
        self._schedule = SpanSchedule(
            seed, self._rows, steps, batch_size * expansion.stride, self._pool_rows, endless=balanced
        )
        self._drawing = threading.Lock()
        self._draws: tuple[tuple[tuple[int, int], int] | None, np.ndarray] = None, np.empty(0, np.intp)

    def settings(self) -> dict[str, Any]:
        """What the sequence of samples depends on, beside the snapshot."""
        e = self._expansion
        return {
            "sequence": SEQUENCE,
            "seed": self._seed,
            "batch_size": self._batch,
            "chunk": e.chunk,
            "n_step": e.n_step,
            "gamma": e.gamma,
            "stride": e.stride,
            "balance_tasks": self._balanced,
            "split": self._split,
            "episodes": sum(map(len, self._places.values())),
            "pool_rows": self._pool_rows,
        }

    def block(self, step: int) -> Block:
        """The block ``step`` lies in."""
        span = self._schedule.span(step)
        loaded = self._loaded(span)
        first = span.begin + (step - span.begin) // BLOCK * BLOCK
        count = min(BLOCK, span.end - first)
        wanted = count * self._batch
        if self._balanced:
            ids = self._drawn(loaded, span, first)[:wanted]
        else:
            order = loaded.order(self._seed, (span.epoch, span.turn))
            begin = (first - span.begin) * self._batch
            ids = order[begin : begin + wanted]
            if len(ids) < wanted:  # the last batch of a set smaller than one
                ids = order.take(np.arange(begin, begin + wanted), mode="wrap")
        return Block(first, ids.astype(np.intp, copy=False).reshape(count, self._batch), loaded.pool)

    def _drawn(self, loaded: "_Loaded", span: Span, first: int) -> np.ndarray:
        """Ids from step ``first`` on, where a block begins; the blocks after it are drawn with it."""
        together = BLOCK * max(1, DRAWN // (BLOCK * self._batch))
        begin = first - (first - span.begin) % together
        place = span.epoch, span.turn
        with self._drawing:
            if self._draws[0] != (place, begin):
                count = min(together, span.end - begin) * self._batch
                ids = loaded.strata.draw(self._seed, place, count, (begin - span.begin) * self._batch)
                self._draws = (place, begin), ids
            return self._draws[1][(first - begin) * self._batch :]

    def after(self, step: int) -> int:
        """First step of the block after the one ``step`` lies in."""
        span = self._schedule.span(step)
        return min(span.end, span.begin + ((step - span.begin) // BLOCK + 1) * BLOCK)

    def _loaded(self, span: Span) -> "_Loaded":
        with self._lock:
            current = self._want(span.shards)
        loaded = current.result()
        if self._pool_rows is not None:
            following = self._schedule.span(span.end).shards if self._ahead else span.shards
            with self._lock:
                for shards in [s for s in self._pools if s not in (span.shards, following)]:
                    del self._pools[shards]
                self._want(following)
        return loaded

    def _want(self, shards: tuple[str, ...]) -> "Future[_Loaded]":
        if shards not in self._pools:
            self._pools[shards] = self._loader.submit(self._load, shards)
        return self._pools[shards]

    def _load(self, shards: tuple[str, ...]) -> "_Loaded":
        places = [i for name in shards for i in self._places[name]]
        if self._records:
            pool = cached(
                self._snapshot, self._split, self._expansion, self._episode_columns, places, self._row_pool
            )
        else:
            pool = self._row_pool(places)
        if not len(pool):
            raise UserError(f"snapshot {self._snapshot.digest}: its rows give no transition; all are invalid")
        return _Loaded(pool)

    def _row_pool(self, places: list[int]) -> RowPool:
        rows = load(self._snapshot, places, self._disk)
        return RowPool(rows, self._expansion.of(rows), self._episode_columns, self._expansion.chunk)


class _Loaded:
    """A pool with the orders drawn from it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._strata: Strata | None = None
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    @property
    def strata(self) -> Strata:
        if self._strata is None:
            self._strata = self.pool.strata()
        return self._strata

    def order(self, seed: int, place: tuple[int, int]) -> np.ndarray:
        """The permutation of an epoch; the last one is kept."""
        kept = self._order
        if kept is None or kept[0] != place:
            kept = self._order = (place, self.pool.ids(shuffled(seed, "shuffle", place, len(self.pool))))
        return kept[1]
