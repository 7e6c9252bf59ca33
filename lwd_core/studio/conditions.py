"""A person's condition, asked in a process of its own that is ended where it takes too much.

DuckDB keeps to its limits between the rows it works on; within one function, as ``range(3000000000)`` folded
while a query is only planned, it hears of no limit and no end. So the limits are the process's.
"""

import itertools
import os
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake import query
from lwd_core.lake.read_only import admit
from lwd_core.lake.store import Lake
from lwd_core.logs.children import ChildCall, ChildLimits, Children, Lost
from storage_schemas.tables import TABLES

#: Seconds of one condition, and what DuckDB keeps in memory: results beyond it go to disk.
SECONDS, MEMORY = 10.0, "1GB"
#: DuckDB's threads: their stacks count as memory of the process.
THREADS = 4
_number = itertools.count()
_one = threading.Lock()  # however many ask at once, they take no more than one of them


@dataclass(frozen=True)
class _Shown:
    """What the process sees: a file of episodes, and other tables of the lake ``root`` at ``versions``, if
    any. ``number`` tells files apart that had the same path."""

    number: int
    file: str
    root: str = ""
    versions: tuple[tuple[str, int], ...] = ()


class Conditions:
    """Conditions over one table of episodes, which is copied to a file without a name: a kill leaves none."""

    def __init__(self, episodes: pa.Table) -> None:
        file = tempfile.TemporaryFile(prefix="lwd-studio-")  # noqa: SIM115  open as long as it is asked
        weakref.finalize(self, file.close)
        with pa.ipc.new_file(file, episodes.schema) as writer:
            writer.write_table(episodes)
        file.flush()
        self._limits = ChildLimits.of(file.tell())
        self._shown = _Shown(next(_number), f"/proc/{os.getpid()}/fd/{file.fileno()}")

    def rows(self, statement: str, params: Sequence[Any]) -> npt.NDArray[np.int32]:
        """The column ``row`` of a query over ``episodes``. Raises `UserError` where it does more than read,
        means nothing, or takes too much; ``query.NoSuchTable`` where it names another table."""
        return self._asked(self._shown, statement, params)

    def rows_beside(
        self, lake: Lake, versions: Mapping[str, int], statement: str, params: Sequence[Any]
    ) -> npt.NDArray[np.int32]:
        """The same of a query that names other tables of the lake."""
        return self._asked(
            replace(self._shown, root=lake.root, versions=tuple(sorted(versions.items()))), statement, params
        )

    def _asked(self, shown: _Shown, statement: str, params: Sequence[Any]) -> npt.NDArray[np.int32]:
        with _one:
            limits = replace(self._limits, seconds=SECONDS)
            calls = [
                ChildCall(self._limits, _load, (shown,)),
                ChildCall(limits, _ask, (shown, statement, params)),
            ]
            with Children() as children:
                futures = children.submit(calls)
                wait(futures)
        try:
            return [future.result() for future in futures][-1]
        except Lost as error:
            raise UserError(
                f"condition: takes more than {SECONDS:.0f} s or {limits.memory / 1e9:.3g} GB; ask for less"
            ) from error


def _load(shown: _Shown) -> None:
    """In the process: have the tables at hand, so that a condition's time is its own."""
    _connection(shown)


def _ask(shown: _Shown, statement: str, params: Sequence[Any]) -> npt.NDArray[np.int32]:
    con = _connection(shown)
    try:
        admit(con, statement, params)
        return query.run(con, statement, params).column("row").to_numpy()
    except query.NoSuchTable:
        raise
    except query.Wrong:
        _connection.cache_clear()  # some errors leave a connection of no use
        raise


@lru_cache(maxsize=2)
def _connection(shown: _Shown) -> query.Connection:
    """A connection with the episodes, and the lake's other tables, that reaches nothing else."""
    lake = Lake.open(shown.root) if shown.root else None
    con = query.connection(lake.fs if lake and lake.place.remote else None)
    with pa.memory_map(shown.file) as file:
        con.register("given", pa.ipc.open_file(file).read_all())
        con.execute("CREATE TABLE episodes AS FROM given")
        con.unregister("given")
    files: list[str] = []
    for name, version in shown.versions:
        if lake is not None and name != "episodes":
            found = lake.files(name, version)
            con.execute(query.view(TABLES[name], found))
            files += found
    con.execute(f"SET threads = {THREADS}; SET memory_limit = '{MEMORY}'")
    con.execute(f"SET temp_directory = {query.text(tempfile.gettempdir())}")
    query.fence(con, files)
    return con
