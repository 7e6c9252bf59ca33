import pyarrow as pa
import pytest

from storage_schemas.columns import Column, Table
from storage_schemas.tables import TABLES


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_every_column_says_what_it_is(table):
    assert table.meaning
    for column in table.columns:
        assert column.meaning.endswith("."), (table.name, column.name)
    # what a row is identified or laid out by is always there; a label of a whole episode has no step or check
    optional = {"step", "check", "text"} if table.name == "labels" else set()
    for name in {*table.key, *table.partition, *table.sort} - optional:
        assert not table.schema.field(name).nullable, (table.name, name)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_times_and_durations_carry_their_unit(table):
    for column in table.columns:
        if column.name.endswith("_ns"):
            assert column.type == pa.int64()
            assert column.unit.startswith("ns")


def test_a_column_that_several_tables_share_is_described_once():
    described = {}
    for table in TABLES.values():
        for column in table.columns:
            if column.name in ("episode_id", "log_id", "site", "day", "robot_id", "created_ns", "task"):
                assert described.setdefault(column.name, column) is column


def test_unit_and_meaning_travel_with_the_schema():
    field = TABLES["episodes"].schema.field("control_hz")
    assert field.metadata == {b"unit": b"Hz", b"meaning": b"Control rate the steps were aligned to."}
    assert TABLES["episodes"].schema.metadata == {b"lwd.table": b"episodes", b"lwd.version": b"1"}


X = Column("x", pa.int32(), "A number.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": (X, X)}, "described twice"),
        ({"key": ("y",)}, "'y' is no column"),
        ({"sort": ("y",)}, "'y' is no column"),
    ],
)
def test_a_table_that_contradicts_itself_cannot_be_made(change, message):
    values = {"name": "t", "version": 1, "meaning": "m", "columns": (X,), "key": ("x",)}
    with pytest.raises(ValueError, match=message):
        Table(**(values | change))
