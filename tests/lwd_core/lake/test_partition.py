"""Rows by partition and in order, however they come."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.lake import partition
from storage_schemas.columns import Column, Table

TABLE = Table(
    "t", 1, "A table of the test.",
    (*(Column(n, pa.string(), n) for n in ("day", "site", "id")), Column("step", pa.int32(), "step")),
    key=("id", "step"), partition=("day", "site"), sort=("id", "step"),
)  # fmt: skip
ROWS = st.tuples(st.sampled_from("xyz"), st.sampled_from("ab"), st.sampled_from("pqrs"), st.integers(0, 50))


@given(st.lists(ROWS, max_size=60), st.integers(1, 40), st.booleans())
def test_parts_are_the_rows_sorted(rows: list[tuple], repeat: int, long_runs: bool) -> None:
    if long_runs:
        rows = [(d, s, i, step + k) for d, s, i, step in rows for k in range(repeat * 10)]
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    table = pa.table({c.name: pa.array(v, c.type) for c, v in zip(TABLE.columns, columns, strict=True)})
    parts = partition.arranged(TABLE, table)
    found = [tuple(row.values()) for _, part in parts for row in part.to_pylist()]
    assert found == sorted(rows)
    for values, part in parts:
        assert {(r["day"], r["site"]) for r in part.to_pylist()} == {(values["day"], values["site"])}
