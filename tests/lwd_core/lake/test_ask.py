"""Queries of people: at a version or moment, in four forms, unable to touch anything but the lake."""

import csv
import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.ask import ask
from lwd_core.lake.output import Format, render
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
