"""The only place that knows Delta Lake: a table's log, its versions and commits.

A commit names the version it was computed from and lands as the next one or not at all, so that a
caller who lost the race looks again before trying again. Delta's own blind retry would let two
ingests of one log append it twice.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lwd_core.errors import StorageError, UserError
from lwd_core.lake.data_file import DataFile
from lwd_core.storage.location import Location

CONFIGURATION: dict[str, str | None] = {
    "delta.checkpointInterval": "50",
    # history is dropped by vacuum and erasure, on request, never by a clock
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}
#: Tries of a change that others' commits may come before.
_TRIES = 5


class LostRace(Exception):
    """Another commit took the version this one was computed for."""


class VersionGone(UserError):
    """A version of a table that isn't there, or that an erasure took."""


class TableLog:
    """The log of one Delta table, at its place."""

    def __init__(self, place: Location) -> None:
        self.place = place
        self._options = place.storage_options or None
        self._newest: DeltaTable | None = None

    @property
    def uri(self) -> str:
        """Folder or URL of the table."""
        return self.place.root

    def create(self, name: str, schema: pa.Schema, partition: Sequence[str]) -> None:
        """Make the table unless it is there. Raises ``OSError`` where the place can't be written."""
        if self.version() is not None:
            return
        try:
            DeltaTable.create(
                self.uri,
                schema,
                mode="ignore",
                partition_by=list(partition),
                name=name,
                configuration=CONFIGURATION,
                storage_options=self._options,
            )
        except (DeltaError, TableNotFoundError) as error:
            if self._made():
                return  # by another process at the same moment
            raise OSError(str(error).splitlines()[0]) from error

    def _made(self) -> bool:
        try:
            return self.version() is not None
        except (DeltaError, OSError):
            return False

    def at(self, version: int | None = None) -> DeltaTable | None:
        """The table at a version, the newest if none is named; None where there is no table yet.

        Raises ``StorageError`` where a table's data lie there, but its log is gone: it would look like an
        empty one, and the next commit would start it anew.
        """
        if version is not None:
            if self._newest is not None and self._newest.version() == version:
                return self._newest
            try:
                return DeltaTable(self.uri, version=version, storage_options=self._options)
            except (DeltaError, TableNotFoundError) as error:
                raise VersionGone(
                    f"{self.uri}: version {version} is not there or was erased; "
                    f"name one of `lwd lake stats` ({error})"
                ) from None
        try:
            if self._newest is None:
                self._newest = DeltaTable(self.uri, storage_options=self._options)
            else:
                self._newest.update_incremental()
        except TableNotFoundError:
            return self._none_yet()
        except DeltaError:
            # the entries after the version in hand were erased: start from the checkpoint
            try:
                self._newest = DeltaTable(self.uri, storage_options=self._options)
            except DeltaError as error:
                raise StorageError(
                    f"{self.uri}: its log can't be read ({_line(error)}); restore _delta_log from a backup"
                ) from error
        return self._newest

    def _none_yet(self) -> DeltaTable | None:
        data = sum(
            name.endswith(".parquet") for name in self.place.fs.find(self.uri) if "_delta_log" not in name
        )
        if not data:
            return None
        try:  # another process may have made it meanwhile
            self._newest = DeltaTable(self.uri, storage_options=self._options)
        except TableNotFoundError:
            raise StorageError(
                f"{self.uri}: its _delta_log is gone, {data} data files are there; restore it from a backup"
            ) from None
        return self._newest

    def version(self) -> int | None:
        """Newest version."""
        table = self.at()
        return None if table is None else table.version()

    def files(self, version: int | None = None) -> list[str]:
        """Full paths of the data files of a version."""
        table = self.at(version)
        if table is None:
            return []
        # the library writes a root with spaces or umlauts as a URL does; the names below it are plain
        above = self.uri.count("/") + 1
        return sorted("/".join([self.uri, *file.split("/")[above:]]) for file in table.file_uris())

    def entries(self, version: int | None = None) -> list[DataFile]:
        """Data files of a version with what the log knows of each."""
        table = self.at(version)
        if table is None:
            return []
        found = pa.table(table.get_add_actions(flatten=False))
        return [
            DataFile(
                path=unquote(row["path"]),
                size=row["size_bytes"],
                rows=row["num_records"],
                partition=row.get("partition") or {},
                low=row.get("min") or {},
                high=row.get("max") or {},
                nulls=row.get("null_count") or {},
            )
            for row in found.to_pylist()
        ]

    def candidates(self, version: int, where: Mapping[str, Sequence[Any]]) -> list[DataFile]:
        """Files that may hold a row whose columns all have one of the values, by the log's statistics."""
        return [file for file in self.entries(version) if all(file.may_hold(*item) for item in where.items())]

    def columns(self, version: int | None = None) -> list[str]:
        """Column names of a version, oldest column first."""
        table = self.at(version)
        return [] if table is None else [field.name for field in table.schema().fields]

    def stored(self) -> pa.Schema:
        """The schema the newest version has in the store."""
        table = self.at()
        return pa.schema([]) if table is None else pa.schema(table.schema().to_arrow())

    def widen(self, columns: pa.Schema) -> None:
        """Add nullable columns, in one commit; columns another writer added meanwhile are left."""
        for tries in reversed(range(_TRIES)):
            table = DeltaTable(self.uri, storage_options=self._options)
            there = {field.name for field in table.schema().fields}
            fields = [field for field in Schema.from_arrow(columns).fields if field.name not in there]
            self._newest = None
            if not fields:
                return
            try:
                table.alter.add_columns(fields)
                return
            except DeltaError:  # another writer's commit came first: it may have added them
                if not tries:
                    raise

    def checkpoint(self) -> int:
        """Write the newest version down whole, so that entries before it aren't needed; return it."""
        table = DeltaTable(self.uri, storage_options=self._options)
        table.create_checkpoint()
        self._newest = None
        return table.version()

    def fence(self) -> None:
        """An empty commit: whoever computed one on an older version has lost the race from now on."""
        while (base := self.version()) is not None:
            try:
                self.commit(base, [], [])
            except LostRace:
                continue
            return

    def commit(
        self, base: int, add: Sequence[DataFile], remove: Sequence[tuple[str, int]], *, changed: bool = True
    ) -> int:
        """Land as version ``base + 1`` or raise ``LostRace``.

        ``add`` are files already written, ``remove`` pairs of path and size; ``changed`` is False where
        rows only move between files.
        """
        table = self.at(base)
        assert table is not None, f"{self.uri} has no version {base}"
        now_ms = time.time_ns() // 1_000_000
        actions: list[AddAction | RemoveAction] = [
            AddAction(f.path, f.size, dict(f.partition), now_ms, changed, f.statistics) for f in add
        ]
        actions += [RemoveAction(path, changed, now_ms, size) for path, size in remove]
        try:
            table.create_write_transaction(
                actions,
                "append",
                table.schema(),
                partition_by=table.metadata().partition_columns,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except (CommitFailedError, OSError) as error:
            self._newest = None
            if self._landed(base, add, error):
                return base + 1  # the store took it, only its answer was lost
            if isinstance(error, OSError) or self.version() == base:  # no race: the store refused
                raise StorageError(
                    f"{self.uri}: version {base + 1} can't be written ({_line(error)}); the table is as it "
                    f"was: make room or restore the connection, then do the same again"
                ) from error
            raise LostRace(str(error)) from None
        return base + 1

    def _landed(self, base: int, add: Sequence[DataFile], tried: Exception) -> bool:
        """Whether the version after ``base`` is the commit that was tried: file names are never used twice.

        A commit that only removes may be tried again, so nobody needs to know. Raises ``StorageError``
        where the store doesn't answer any more.
        """
        try:
            newest = self.version()
            there = {file.path for file in self._after(base, newest)} if newest and newest > base else set()
        except (OSError, DeltaError) as error:
            raise StorageError(
                f"{self.uri}: the store stopped answering ({_line(tried)}), and whether version {base + 1} "
                f"was written can't be told ({_line(error)}); see `lwd lake stats` when it answers again"
            ) from error
        return bool(add) and there.issuperset(file.path for file in add)

    def _after(self, base: int, newest: int) -> list[DataFile]:
        try:
            return self.entries(base + 1)
        except VersionGone:  # its history was erased meanwhile
            return self.entries(newest)


def _line(error: Exception) -> str:
    """A message of several lines in colour, as one in plain text."""
    return " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).replace("\u21b3", ":").split())
