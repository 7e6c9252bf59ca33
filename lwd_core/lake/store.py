"""The lake: tables with versions, and the folders beside them.

<root>/tables/<table>/…       Delta tables, Parquet under day=…/site=…
<root>/frames/<day>/<site>/…  camera frames, tar
<root>/quarantine/…           raw logs that could not be taken in
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import pyarrow as pa

from lwd_core.errors import UserError, suggest
from lwd_core.lake import query, rewrite
from lwd_core.lake.conform import conform
from lwd_core.lake.data_file import DataFile
from lwd_core.lake.delta import LostRace, TableLog, VersionGone
from lwd_core.lake.episode import Episode
from lwd_core.lake.evolve import additions
from lwd_core.lake.history import version_at
from lwd_core.lake.parquet import write_file
from lwd_core.lake.partition import arranged
from lwd_core.lake.tombstones import TABLES_OF_EPISODES, Tombstones
from lwd_core.storage.conditional import require_conditional_put
from lwd_core.storage.location import Location, open_location
from storage_schemas.columns import Table
from storage_schemas.tables import TABLES

Where = Mapping[str, Sequence[str | None]]


def known(table: str) -> Table:
    """The table of that name; ``UserError`` if the lake has none."""
    if table not in TABLES:
        raise UserError(f"table {table!r}: the lake has no such table{suggest(table, TABLES)}")
    return TABLES[table]


class Lake:
    """An episode lake at one place. Open with ``Lake.open``; cheap to open, safe to open many times."""

    def __init__(self, place: Location) -> None:
        self.place = place
        self._fitting: set[str] = set()  # tables whose stored schema was compared with its description
        self._views: query.Views | None = None
        self.contents: dict[tuple[str, str], frozenset[str]] = {}
        self.tombstones = Tombstones(place)
        self._logs = {name: TableLog(place.below("tables", name)) for name in TABLES}

    @classmethod
    def open(cls, root: str, *, create: bool = False, endpoint: str | None = None) -> Self:
        """Open the lake at a folder or ``s3://`` URL; ``create`` makes it if it isn't there.

        Raises ``UserError`` where there is none, where it can't be written, or where a bucket lets
        two writers put the same object (commits would be lost in silence).
        """
        place = open_location(root, endpoint)
        lake = cls(place)
        try:
            if create:
                if place.remote:
                    require_conditional_put(place)
                if lake.version("episodes") is None:
                    for name, table in TABLES.items():
                        lake.log(name).create(name, table.schema, table.partition)
            elif lake.version("episodes") is None:
                raise UserError(f"{root}: no lake there; `lwd ingest` makes one, or set LWD_LAKE")
        except UserError:
            raise
        except OSError as error:
            raise UserError(
                f"{root}: the lake can't be used there ({error}); check path and rights"
            ) from error
        return lake

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    @property
    def root(self) -> str:
        """Absolute path or URL."""
        return self.place.root

    @property
    def fs(self) -> Any:
        """The fsspec filesystem of the root."""
        return self.place.fs

    def path(self, *parts: str) -> str:
        """A path below the root."""
        return self.place.path(*parts)

    def log(self, table: str) -> TableLog:
        """The Delta log of a table."""
        return self._logs[known(table).name]

    def version(self, table: str) -> int | None:
        """Newest version of a table; None before its first use."""
        return self.log(table).version()

    def versions(self) -> dict[str, int]:
        """Newest version of every table."""
        found = {name: self.version(name) for name in TABLES}
        return {name: version for name, version in found.items() if version is not None}

    def versions_at(self, moment: datetime) -> dict[str, int]:
        """Version of every table as it was at a moment, a ``datetime`` with its time zone."""
        found = {name: version_at(self.place, name, moment) for name in TABLES}
        return {name: version for name, version in found.items() if version is not None}

    def files(self, table: str, version: int | None = None) -> list[str]:
        """Data files of a version, newest by default."""
        return self.log(table).files(version)

    # writing

    def append(self, table: str, rows: pa.Table) -> int:
        """Add rows in one commit and return the version made. Raises ``UserError`` on misfit rows."""
        return self.replace(table, rows, {})

    def replace(self, table: str, rows: pa.Table, where: Where) -> int:
        """Delete the rows whose columns all hold one of the values given, add ``rows``; one commit.

        The same call again leaves the same rows: a retry after a crash is safe. An empty ``where``
        deletes nothing. Returns the version made; the current one if there was nothing to do.
        """
        return self.settle(table, lambda _version: rows, where)

    def settle(self, table: str, plan: Callable[[int], pa.Table], where: Where) -> int:
        """``replace`` by rows that depend on what is there: ``plan`` gets the version the commit builds on.

        It is asked again whenever another writer commits first. Rows of erased episodes are left out.
        """
        log, spec = self.log(table), known(table)
        planned: pa.Table | None = None
        added: list[DataFile] = []
        while True:
            base = self._base(spec)
            try:
                rows = plan(base)
                if table in TABLES_OF_EPISODES:
                    rows = self.tombstones.without(rows)  # after the base was read, see there
                if rows is not planned:
                    rewrite.discard(self.place, spec, added)
                    planned, added = None, []
                    added = self._write(spec, conform(spec, rows))
                    planned = rows
                removed, kept = rewrite.without(self, spec, base, where) if where else ([], [])
            except (VersionGone, FileNotFoundError, query.Wrong, query.Damaged):
                if log.version() == base:
                    raise
                continue  # an erasure took what this version was made of
            if not added and not removed:
                return base
            try:
                return log.commit(base, [*added, *kept], removed)
            except LostRace:
                rewrite.discard(self.place, spec, kept)

    def _base(self, table: Table) -> int:
        log = self.log(table.name)
        version = log.version()
        if version is None:
            log.create(table.name, table.schema, table.partition)
            version = log.version()
        if table.name not in self._fitting:
            new = additions(table, log.stored())
            if new:
                log.widen(pa.schema([column.field for column in new]))
                version = log.version()
            self._fitting.add(table.name)
        assert version is not None
        return version

    def _write(self, table: Table, rows: pa.Table) -> list[DataFile]:
        return [write_file(self.place, table, part, values) for values, part in arranged(table, rows)]

    # reading

    def connect(self, versions: Mapping[str, int] | None = None) -> Any:
        """A DuckDB connection of the caller's own with a view over every table.

        Tables are seen at the versions given, others at their newest.
        """
        con = query.connection(self.fs if self.place.remote else None)
        for name, version in self._resolve(TABLES, versions).items():
            con.execute(self._view(name, version))
        return con

    def script(self, versions: Mapping[str, int] | None = None) -> str:
        """SQL that gives a stock DuckDB the same views, with no part of this project in between."""
        resolved = self._resolve(TABLES, versions)
        shown = ", ".join(f"{name} {version}" for name, version in resolved.items())
        return query.script([self._view(*item) for item in resolved.items()], f"{self.root} at {shown}")

    def sql(
        self, statement: str, params: Sequence[Any] = (), *, versions: Mapping[str, int] | None = None
    ) -> pa.Table:
        """The rows of a DuckDB query over the lake's tables; ``?`` marks take ``params``.

        An Arrow table: ``.to_pandas()`` makes a pandas frame of it, ``polars.DataFrame(rows)`` one of Polars.
        ``versions`` sees tables as they were at these versions. Raises `UserError` in DuckDB's words.
        """
        written = statement.lower()  # SQL knows no difference
        wanted = [name for name in TABLES if name in written]
        if set(wanted) & set(query.GUARDED) and "episodes" not in wanted:
            wanted.append("episodes")
        if self._views is None:
            self._views = query.Views(self.fs if self.place.remote else None)
        resolved = self._resolve(wanted, versions)
        while True:
            try:
                return self._views.run(resolved, self._view, statement, params)
            except (*query.Unreadable, VersionGone) as error:
                # an erasure deletes the files of older versions at once: look whether there are newer ones
                before, resolved = resolved, self._resolve(wanted, versions)
                if resolved == before:
                    if isinstance(error, VersionGone):
                        raise
                    raise query.Damaged(self.root, error) from error

    def _resolve(self, tables: Iterable[str], versions: Mapping[str, int] | None) -> dict[str, int | None]:
        """The version of each table, ``episodes`` first: the others look through it."""
        ordered = sorted(tables, key=lambda name: name != "episodes")
        return {n: versions[n] if versions and n in versions else self.version(n) for n in ordered}

    def _view(self, table: str, version: int | None) -> str:
        return query.view(TABLES[table], [] if version is None else self.files(table, version))

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[Any] = (),
        versions: Mapping[str, int] | None = None,
    ) -> pa.Table:
        """Columns of the visible rows of a table where a SQL condition holds, typed as its schema says.

        Raises `UserError` for a table or column there is none of, and for a condition that means nothing.
        """
        spec = known(table)
        names = list(columns or spec.names)
        for name in names:
            if name not in spec.names:
                raise UserError(f"table {table}: no column {name!r}{suggest(name, spec.names)}")
        listed = ", ".join(f'"{name}"' for name in names)
        statement = f'SELECT {listed} FROM "{table}"' + (f" WHERE {where}" if where else "")
        rows = self.sql(statement, params, versions=versions)
        return rows.cast(pa.schema([spec.schema.field(name) for name in names], spec.schema.metadata))

    def episodes(self, where: str = "true", params: Sequence[Any] = ()) -> list[Episode]:
        """The episodes for which a SQL condition over the columns of ``episodes`` holds, oldest first.

        Raises `UserError` for a condition that means nothing, a column that isn't there among them.
        """
        rows = self.read(
            "episodes", where=f"{query.condition(where)} ORDER BY start_ns, episode_id", params=params
        )
        return [Episode(self, row) for row in rows.to_pylist()]

    def episode(self, episode_id: str) -> Episode:
        """The one episode whose id begins so. Raises `UserError` where there is none, or more than one."""
        found = self.episodes("starts_with(episode_id, ?)", (episode_id,))
        if len(found) == 1:
            return found[0]
        problem = f"{len(found)} episodes start like this; give more of the id"
        if not found:
            near = self.sql(
                "SELECT episode_id FROM episodes WHERE jaro_winkler_similarity(episode_id, ?) > 0.8 "
                "ORDER BY jaro_winkler_similarity(episode_id, ?) DESC, episode_id LIMIT 1",
                (episode_id, episode_id),
            )["episode_id"].to_pylist()
            remedy = f"did you mean {near[0]}?" if near else "`lwd episode list` shows those there are"
            problem = f"no such episode; {remedy}"
        raise UserError(f"episode {episode_id}: {problem}")

    def labels(self, layer: str) -> pa.Table:
        """The rows of a label layer, ``name@version``, that count: none that a person has replaced since.

        Raises `UserError` where there is no such layer.
        """
        rows = self.read(
            "labels",
            where='layer_id = ? AND replaced_ns IS NULL ORDER BY episode_id, "check", step',
            params=(layer,),
        )
        if not rows.num_rows:
            layers = self.sql("SELECT DISTINCT layer_id FROM labels ORDER BY 1")["layer_id"].to_pylist()
            raise UserError(f"label layer {layer}: no such layer{suggest(layer, layers)}")
        return rows
