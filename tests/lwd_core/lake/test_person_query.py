"""Queries of people: at a version or moment, in four forms, unable to touch anything but the lake."""

import csv
import hashlib
import io
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwd_core.cli._format import Format, render
from lwd_core.errors import UserError
from lwd_core.lake.person_query import ask
from lwd_core.lake.store import Lake
from tests.lwd_core.lake.rows import episode_row, step_rows


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for name in "ab":
        lake.append("steps", step_rows(name, f"log-{name}", 4))
        lake.append("episodes", episode_row(name, f"log-{name}", 4))
        time.sleep(0.01)
    return lake


COUNT = "SELECT count(*) AS n FROM steps"


def test_as_of_a_version_or_a_moment(lake: Lake) -> None:
    newest = lake.version("episodes")
    assert newest is not None
    assert ask(lake, COUNT).to_pylist() == [{"n": 8}]
    assert ask(lake, COUNT, str(newest - 1)).to_pylist() == [{"n": 4}]
    assert ask(lake, COUNT, datetime.now(UTC).isoformat()).to_pylist() == [{"n": 8}]
    with pytest.raises(UserError, match="the lake is younger"):
        ask(lake, COUNT, "2001-01-01")
    with pytest.raises(UserError, match="the newest is 2"):
        ask(lake, COUNT, "99")
    with pytest.raises(UserError, match="no version and no time"):
        ask(lake, COUNT, "yesterday")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY episodes TO 'OUTSIDE/stolen.csv'",
        "ATTACH 'OUTSIDE/other.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELEKT 1",
    ],
)
def test_a_query_reads_the_lake_and_nothing_else(
    lake: Lake, query: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    with pytest.raises(UserError, match="query: "):
        ask(lake, query.replace("OUTSIDE", str(outside)))
    assert list(outside.iterdir()) == []


def serialized(statement: str) -> str:
    """A statement as the text that ``json_execute_serialized_sql`` runs."""
    with duckdb.connect() as con:
        row = con.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    assert row is not None
    return row[0].replace("'", "''")


WITH_COPY = "WITH x AS (COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)) "
WRITES = [
    "COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "COPY (SELECT 2 AS x) TO '@FILE' (FORMAT csv)",
    "COPY episodes TO '@FOLDER' (PARTITION_BY day, OVERWRITE true)",
    "COPY (PIVOT episodes ON outcome) TO '@FILE' (USE_TMP_FILE false)",
    WITH_COPY + "SELECT 1",
    WITH_COPY + "FROM (PIVOT episodes ON outcome)",
    "EXPLAIN ANALYZE COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "EXPLAIN /* ANALYZE SELECT 1 */ ANALYZE " + WITH_COPY + "SELECT 1",
    "EXPLAIN /* x SELECT 1 -- */ ANALYZE COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "EXPLAIN ANALYZE /* x SELECT 1 --\n*/ COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "PRAGMA /* PRAGMA show */ enable_profiling",
    "SELECT 1; COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false); SELECT 1",
    "FROM json_execute_serialized_sql('JSON')",
    "PRAGMA json_execute_serialized_sql('JSON')",
    "SELECT (SELECT 1 FROM json_execute_serialized_sql('JSON'))",
    "EXPLAIN ANALYZE FROM json_execute_serialized_sql('JSON')",
    "FROM query('FROM json_execute_serialized_sql($$JSON$$)')",
    "WITH c AS MATERIALIZED (FROM system.main.json_execute_serialized_sql('JSON')) FROM c",
    "EXPORT DATABASE '@FOLDER'",
    "IMPORT DATABASE '@FOLDER'",
    "ATTACH '@FILE' AS other",
    "FROM read_duckdb('@FILE')",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW episodes AS SELECT 1",
    "DROP VIEW episodes",
    "PREPARE p AS COPY (SELECT 2 AS x) TO '@FILE' (USE_TMP_FILE false)",
    "EXECUTE p",
    "CALL enable_logging('QueryLog', storage = 'file', storage_path = '@FILE')",
    "FROM enable_profiling(save_location = '@FILE')",
    "PRAGMA profiling_output = '@FILE'",
    "PRAGMA enable_profiling",
    "SET profiling_output = '@FILE'",
    "SET VARIABLE x = 1",
    "RESET lock_configuration",
    "LOAD parquet",
    "CHECKPOINT",
    "FROM checkpoint()",
    "FROM arrow_scan(1, 2, 3)",
    "FROM lake",
    "VACUUM",
    "BEGIN",
    "",
    "-- nothing",
]


def digests(root: str) -> dict[str, str]:
    found = (p for p in Path(root).parent.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def filled(query: str, file: str) -> str:
    inner = serialized(WITH_COPY.replace("@FILE", file) + "SELECT 1")
    return (
        query.replace("$$JSON$$", f"''{inner.replace(chr(39), chr(39) * 2)}''")
        .replace("JSON", inner)
        .replace("@FILE", file)
        .replace("@FOLDER", str(Path(file).parent))
    )


@pytest.mark.parametrize("query", WRITES)
def test_no_query_changes_a_file_of_the_lake(lake: Lake, query: str) -> None:
    (file, *_) = lake.files("episodes")
    before = digests(lake.root)
    with pytest.raises(UserError, match="query: "):
        ask(lake, filled(query, file))
    assert digests(lake.root) == before


PARTS = st.sampled_from(
    [*WRITES[:20], "SELECT 1", "FROM episodes", ";", "EXPLAIN", "ANALYZE", "WITH y AS (SELECT 1)", "(", ")",
     "/*", "*/", "--", "\n", "UNION ALL", "FROM", "DESCRIBE", "PRAGMA", "'"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(PARTS, min_size=1, max_size=5))
def test_no_mixture_of_statements_changes_a_file(
    parts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / "mixed" / "lake"
    lake = Lake.open(str(root), create=True)
    if lake.version("episodes") == 0:
        lake.append("episodes", episode_row("a", "log-a", 4))
    (file,) = lake.files("episodes")
    before = digests(lake.root)
    with suppress(UserError):
        ask(lake, filled(" ".join(parts), file))
    assert digests(lake.root) == before


@pytest.mark.parametrize(
    "query",
    [
        "DESCRIBE episodes",
        "SUMMARIZE episodes",
        "SHOW TABLES",
        "PRAGMA table_info('episodes')",
        "EXPLAIN SELECT * FROM episodes",
        "EXPLAIN ANALYZE SELECT * FROM episodes",
        "EXPLAIN (ANALYZE, FORMAT json) FROM episodes",
        "SELECT 1; SELECT 2;",
        "VALUES (1), (2)",
        "TABLE episodes",
        "PIVOT episodes ON outcome IN ('success', 'failure') USING count(*) GROUP BY day",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
        "SELECT e.*, unnest(range(3)) FROM episodes e ASOF JOIN steps s ON e.start_ns >= s.t_ns",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM json_each('[1, 2]')",
        "SELECT name FROM duckdb_settings() LIMIT 1",
        "SELECT replace('COPY x TO y', 'COPY', 'INSERT') AS copy",
        "SELECT row_number() OVER (ORDER BY day) FROM episodes QUALIFY row_number() OVER () = 1",
    ],
)
def test_whatever_reads_is_admitted(lake: Lake, query: str) -> None:
    assert ask(lake, query).num_columns > 0


def test_a_condition_is_no_statement(lake: Lake) -> None:
    (file, *_) = lake.files("episodes")
    before = digests(lake.root)
    for more in ("1 = 1; COPY (SELECT 2) TO '@FILE' (USE_TMP_FILE false)", "true; SELECT 1"):
        with pytest.raises(UserError, match="more than a condition"):
            lake.read("episodes", where=more.replace("@FILE", file))
    copy = "EXISTS(WITH x AS (COPY (SELECT 2) TO '@FILE' (USE_TMP_FILE false)) FROM x)".replace("@FILE", file)
    for wrong in (
        "outcom = 'success'",
        "1 = ",
        "(true",
        "steps = 'many'",
        "nosuch(1)",
        "(true; SELECT 1)",
        copy,
    ):
        with pytest.raises(UserError, match=r"query: .*Error: [^\n]*$"):
            lake.read("episodes", where=wrong)
    assert digests(lake.root) == before


def test_a_mistake_is_shown_where_it_is(lake: Lake) -> None:
    with pytest.raises(UserError, match=r"(?s)\"outcom\" not found.*LINE 2: SELECT outcom FROM") as caught:
        ask(lake, "SELECT outcom FROM episodes")
    assert "EXPLAIN" not in str(caught.value)


def test_four_forms(lake: Lake) -> None:
    rows = ask(lake, "SELECT episode_id, [1, 2] AS l, sum(steps) AS s FROM episodes GROUP BY ALL ORDER BY 1")
    assert json.loads(render(rows, Format.JSON)) == [
        {"episode_id": "a", "l": [1, 2], "s": 4},
        {"episode_id": "b", "l": [1, 2], "s": 4},
    ]
    lines = list(csv.reader(io.StringIO(render(rows, Format.CSV).decode())))
    assert lines == [["episode_id", "l", "s"], ["a", "[1, 2]", "4"], ["b", "[1, 2]", "4"]]
    assert pq.read_table(io.BytesIO(render(rows, Format.PARQUET))).num_rows == 2
    assert "episode_id" in render(rows, Format.TABLE).decode()


def test_a_stock_duckdb_reads_the_same(lake: Lake) -> None:
    with duckdb.connect() as con:
        con.execute(lake.script())
        assert con.execute(COUNT).fetchall() == [(8,)]
        con.execute("SELECT * FROM labels").fetchall()


def blocks() -> list[str]:
    page = (Path(__file__).parents[3] / "docs" / "queries.md").read_text()
    return [part.split("```")[0].strip() for part in page.split("```sql\n")[1:]]


def test_there_are_ten() -> None:
    assert len(blocks()) >= 10


@pytest.mark.parametrize("query", blocks())
def test_each_query_of_the_page_runs(lake: Lake, query: str) -> None:
    assert ask(lake, query).column_names
