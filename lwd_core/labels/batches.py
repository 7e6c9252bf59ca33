"""Episodes read many at a time: the first that asks for a column reads it for all of its batch."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import StorageError
from lwd_core.lake.episode import Episode
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import EPISODES

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

#: Episodes and steps read at a time: memory is bounded by these, not by the lake.
EPISODES_AT_ONCE, STEPS_AT_ONCE = 1024, 100_000
#: Episodes of the first batch, and how long a batch should take.
FIRST_EPISODES, MOMENT_S = 32, 1.0

Answer = TypeVar("Answer")


class Moved(Exception):
    """The versions a batch was read at are gone; read it again."""


def each_batch(
    lake: "Lake",
    wanted: pa.Table,
    embodiments: Mapping[str, Embodiment],
    answer: Callable[[list[Episode]], Answer],
) -> Iterator[Answer]:
    """What ``answer`` makes of episodes, many at a time. ``wanted``: episode_id, day, site, steps.

    An episode that is gone meanwhile is passed over. ``answer`` is asked again where an erasure takes
    away what was read. A batch holds as many as take a moment, so that something is there soon.
    """
    ends = np.cumsum(wanted.column("steps").to_numpy())
    first, size, asked = 0, FIRST_EPISODES, set[str]()
    while first < wanted.num_rows:
        before = ends[first - 1] if first else 0
        end = int(np.searchsorted(ends, before + STEPS_AT_ONCE, side="right"))
        end = min(max(end, first + 1), first + size)
        began = time.monotonic()
        try:
            found = answer(EpisodeBatch(lake, wanted.slice(first, end - first), asked).episodes(embodiments))
        except Moved:
            continue
        yield found
        first, took = end, time.monotonic() - began
        if took < MOMENT_S:
            size = min(2 * size, EPISODES_AT_ONCE)
        elif took > 4 * MOMENT_S:
            size = max(size // 2, 1)


class EpisodeBatch:
    """``asked`` are the columns that batches before were asked for: they are read together."""

    def __init__(self, lake: "Lake", wanted: pa.Table, asked: set[str]) -> None:
        self.lake, self._asked = lake, asked
        self._versions = {name: v for name in ("episodes", "steps") if (v := lake.version(name)) is not None}
        self._where: list[str] = []
        self._params: list[Any] = []
        for name in ("day", "site", "episode_id"):
            values = pc.unique(wanted.column(name)).to_pylist()
            self._where.append(f"{name} IN ({', '.join('?' * len(values))})")
            self._params += values
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._bounds: dict[str, tuple[int, int]] = {}

    def episodes(self, embodiments: Mapping[str, Embodiment]) -> list[Episode]:
        facts = self._read("episodes", EPISODES.names, "episode_id").to_pylist()
        return [
            Episode(
                self.lake,
                row,
                embodiments.get(row["embodiment"]),
                partial(self.column, episode_id=row["episode_id"]),
            )
            for row in facts
        ]

    def column(self, name: str, episode_id: str) -> pa.ChunkedArray:
        if name not in self._columns:
            self._asked |= {name} - {"frames"}  # the largest of all, and often asked of a few only
            names = [name, *sorted(self._asked - self._columns.keys() - {name})]
            rows = self._read("steps", ("episode_id", *names), "episode_id, step")
            self._columns |= dict(zip(names, rows.columns[1:], strict=True))
            if not self._bounds:
                runs = pc.run_end_encode(rows.column(0).combine_chunks())
                ends = runs.run_ends.to_pylist()
                self._bounds = dict(
                    zip(runs.values.to_pylist(), zip([0, *ends], ends, strict=False), strict=True)
                )
        first, end = self._bounds.get(episode_id, (0, 0))
        return self._columns[name].slice(first, end - first)

    def _read(self, table: str, columns: Sequence[str], order: str) -> pa.Table:
        from lwd_core.lake.delta import VersionGone

        where = f"{' AND '.join(self._where)} ORDER BY {order}"
        try:
            return self.lake.read(
                table, columns=columns, where=where, params=self._params, versions=self._versions
            )
        except (VersionGone, StorageError) as error:
            if any(self.lake.version(name) != version for name, version in self._versions.items()):
                raise Moved from error
            raise
