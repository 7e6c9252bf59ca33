"""The only place that knows DuckDB: views over the exact files of the versions asked for.

DuckDB runs in memory and holds nothing: a lake needs no server and any number of readers may look.
Steps, segments and labels are seen only for episodes in ``episodes``, in the episode's own
partition: what a crashed or a losing ingest left behind stays invisible. So do steps and segments of another
reading of the log than the episode's: a log that is read again changes at once, by the row of its episode.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from lwd_core.errors import StorageError, UserError
from storage_schemas.columns import Table

GUARDED = ("steps", "segments", "labels")
GENERATION = re.compile(r"part-(\d+)c-[0-9a-f]+\.parquet$")


def sql_type(kind: pa.DataType) -> str:
    """The DuckDB name of an Arrow type."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"  # type: ignore[attr-defined]
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{f.name}" {sql_type(f.type)}' for f in kind) + ")"  # type: ignore[attr-defined]
    names = {"string": "VARCHAR", "bool": "BOOLEAN", "int32": "INTEGER", "int64": "BIGINT"}
    return (names | {"float": "FLOAT", "double": "DOUBLE"})[str(kind)]


def text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def generations(files: Sequence[str]) -> list[list[str]]:
    """Files grouped by the number of columns their schema had when they were written."""
    groups: dict[str, list[str]] = {}
    for file in files:
        match = GENERATION.search(file)
        groups.setdefault(match.group(1) if match else file, []).append(file)
    return list(groups.values())


def scan(table: Table, files: Sequence[str]) -> str:
    """SQL that reads the rows of these files with every column of the table."""
    missing = ", ".join(f'NULL::{sql_type(c.type)} AS "{c.name}"' for c in table.columns)
    empty = f"SELECT {missing} WHERE false"
    if not files:
        return empty
    hive = ""
    if table.partition:
        types = ", ".join(f"'{name}': VARCHAR" for name in table.partition)
        hive = f", hive_partitioning = true, hive_types = {{{types}}}"
    else:
        hive = ", hive_partitioning = false"
    reads = [
        f"SELECT * FROM read_parquet([{', '.join(map(text, group))}]{hive})" for group in generations(files)
    ]
    columns = ", ".join(f'"{name}"' for name in table.names)
    if len(reads) == 1 and f"part-{len(table.columns)}c-" in files[0]:
        return f"SELECT {columns} FROM ({reads[0]})"
    return f"SELECT {columns} FROM ({' UNION ALL BY NAME '.join([empty, *reads])})"


def view(table: Table, files: Sequence[str]) -> str:
    """SQL that makes the view of a table; guarded ones need the view ``episodes`` before."""
    query = scan(table, files)
    if table.name in GUARDED:
        # An episode has one row, so a join shows each of its rows once. Measured at 100,000 episodes: DuckDB
        # carries `episode_id = …` over to `episodes` only through a join; EXISTS takes three times as long
        # to find one episode, for a whole scan the join a sixth longer.
        query = (
            f"SELECT r.* FROM ({query}) r JOIN episodes e "
            f"ON e.episode_id = r.episode_id AND e.day = r.day AND e.site = r.site"
        )
        if any(column.name == "reading" for column in table.columns):
            query += " AND e.reading IS NOT DISTINCT FROM r.reading"
    return f'CREATE OR REPLACE VIEW "{table.name}" AS {query}'


def script(views: Sequence[str], about: str) -> str:
    """A file for ``duckdb -init``: every view over the files of one version of the lake."""
    lines = [f"-- {about}", "-- Read with any DuckDB: duckdb -init lake.sql", *(f"{v};" for v in views)]
    return "\n".join(lines) + "\n"


class Damaged(StorageError):
    """A file of the newest version can't be read."""

    def __init__(self, root: str, why: object) -> None:
        super().__init__(
            f"{root}: a file of the lake can't be read ({str(why).splitlines()[0]}); `lwd doctor` names what "
            "is damaged: restore it from a backup"
        )


class WrongQuery(UserError):
    """A query, or the condition in it, that means nothing; in DuckDB's words."""

    def __init__(self, why: object) -> None:
        # what was meant stands in the lines between the fault and the place it is at
        lines = str(why).partition("\n\nLINE")[0].splitlines()
        super().__init__(f"query: {' '.join(line for line in lines if line)}")
        self._why = str(why)

    def __reduce__(self) -> tuple[type, tuple[str]]:  # another process may have found it wrong
        return type(self), (self._why,)


def kind(statement: Any) -> str:
    """What a parsed statement is: SELECT, COPY and so on; empty for one that DuckDB's Python doesn't know."""
    try:
        return str(statement.type).removeprefix("StatementType.")
    except ValueError:
        return ""


def require_select(con: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Raise ``WrongQuery`` for anything but one SELECT."""
    try:
        kinds = [kind(found) for found in con.extract_statements(statement)]
    except duckdb.ProgrammingError as error:
        raise WrongQuery(error) from error
    if not kinds:
        raise WrongQuery("there is no statement in it; write a SELECT")
    if kinds != ["SELECT"]:
        raise WrongQuery(f"more than a condition, it holds {len(kinds)} statements: {statement}")


def condition(where: str) -> str:
    """A person's condition as a part of a query: within brackets, and nothing else of the query.

    Raises ``WrongQuery`` for what isn't whole by itself: ``a) --`` would take what the query asks besides.
    """
    require_select(_parser().cursor(), f"SELECT 1 WHERE\n{where}")
    return f"(\n{where}\n)"  # on lines of its own: a comment in it ends there


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return connection()


class Views:
    """A connection whose views follow the versions asked for; a view is made anew only when its files change.

    Opening DuckDB and binding views costs more than finding one episode.
    """

    def __init__(self, filesystem: Any = None) -> None:
        self._con = connection(filesystem)
        self._shown: dict[str, int | None] = {}
        self._lock = threading.Lock()

    def run(
        self,
        wanted: Mapping[str, int | None],
        make: Callable[[str, int | None], str],
        statement: str,
        params: Sequence[Any],
    ) -> pa.Table:
        """Rows of a query with these tables in view, by version; ``make`` gives the SQL of a missing view.

        Conditions that people write are part of queries: raises ``WrongQuery`` for anything but one SELECT,
        and for one that DuckDB can't make sense of.
        """
        with self._lock:
            require_select(self._con, statement)
            for name, version in wanted.items():
                if self._shown.get(name, -1) != version:
                    self._con.execute(make(name, version))
                    self._shown[name] = version
            try:
                return run(self._con, statement, params)
            except (duckdb.ProgrammingError, duckdb.DataError) as error:
                raise WrongQuery(error) from error


def connection(filesystem: Any = None) -> duckdb.DuckDBPyConnection:
    """An empty in-memory database that reads an object store through ``filesystem``."""
    con = duckdb.connect()
    # nothing is fetched from outside, least of all an extension in the middle of a query
    con.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    con.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
    con.execute("SET python_enable_replacements = false")  # a name in a query is a table, no variable of ours
    if filesystem is not None:
        con.register_filesystem(filesystem)
    return con


def run(
    con: duckdb.DuckDBPyConnection, query: str, params: Sequence[Any] | Mapping[str, Any] = ()
) -> pa.Table:
    """The rows a query gives, as Arrow."""
    result = con.sql(query, params=params or None)
    return pa.table({}) if result is None else result.to_arrow_table()


Connection = duckdb.DuckDBPyConnection
Wrong = duckdb.Error
NoSuchTable = duckdb.CatalogException
Interrupted = duckdb.InterruptException
Unreadable = (duckdb.IOException, duckdb.InvalidInputException)  # a file of a version is gone, or cut


def fence(con: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """From now on the connection reaches these files and nothing else. It may write them: see ``admit``."""
    allowed = ", ".join(map(text, files))
    con.execute(f"SET allowed_paths = [{allowed}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
