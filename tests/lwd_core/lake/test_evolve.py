"""Schema evolution: a new nullable column, nothing else."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.lake.upkeep import compact
from storage_schemas import tables
from storage_schemas.columns import Column, Table
from tests.lwd_core.lake.rows import episode_row, segment_rows


@pytest.fixture
def root(tmp_path: Path) -> str:
    root = str(tmp_path / "lake")
    lake = Lake.open(root, create=True)
    lake.append("segments", segment_rows("a", "log-a", 5))
    lake.append("episodes", episode_row("a", "log-a", 5))
    return root


def describe(monkeypatch: pytest.MonkeyPatch, columns: tuple[Column, ...]) -> Table:
    table = replace(tables.SEGMENTS, columns=columns)
    monkeypatch.setitem(tables.TABLES, "segments", table)
    return table


def test_a_nullable_column_is_added_and_old_rows_have_nulls(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tables.SEGMENTS.columns
    describe(monkeypatch, (*old, Column("mood", pa.string(), "How it felt.", nullable=True)))
    lake = Lake.open(root)
    assert lake.read("segments", columns=["mood"]).to_pylist() == [{"mood": None}]
    rows = segment_rows("a", "log-a", 5)
    rows = rows.set_column(rows.column_names.index("mood"), "mood", pa.array(["good"]))
    rows = rows.set_column(rows.column_names.index("segment"), "segment", pa.array([1], pa.int32()))
    lake.append("segments", rows)
    expected = [{"segment": 0, "mood": None}, {"segment": 1, "mood": "good"}]
    assert lake.sql("SELECT segment, mood FROM segments ORDER BY 1").to_pylist() == expected
    compact(lake)
    assert len(lake.files("segments")) == 1
    assert Lake.open(root).sql("SELECT segment, mood FROM segments ORDER BY 1").to_pylist() == expected


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c[:-1], "'reading' is in the lake and not in its description"),
        (lambda c: (*c, Column("mood", pa.string(), "How it felt.")), "'mood' may not be null"),
        (
            lambda c: tuple(replace(x, type=pa.int64()) if x.name == "segment" else x for x in c),
            "'segment' is int32 in the lake, described as int64",
        ),
        (
            lambda c: tuple(replace(x, nullable=False) if x.name == "who" else x for x in c),
            "'who' changed whether it may be null",
        ),
    ],
)
def test_anything_else_is_refused_with_the_remedy(
    root: str, monkeypatch: pytest.MonkeyPatch, change, word: str
) -> None:
    table = describe(monkeypatch, change(tables.SEGMENTS.columns))
    rows = segment_rows("a", "log-a", 5)
    rows = rows.select([n for n in rows.column_names if n in table.names])
    with pytest.raises(UserError, match=word) as refused:
        Lake.open(root).append("segments", rows)
    assert "as version 2 of the table" in str(refused.value)
