"""The description of a snapshot's row, and the pages that show it."""

from pathlib import Path

import pytest

from storage_schemas.markdown import batch_table, page, sample_table
from storage_schemas.snapshot_row import ROW, FromSteps, RowColumn, Take, batch_columns, uses
from storage_schemas.tables import BOOL, F32, I64, STEPS

SNAPSHOTS = Path(__file__).parents[2] / "docs" / "snapshots.md"


def test_names_are_said_once():
    for names in ([c.name for c in ROW], [c.name for c in batch_columns()]):
        assert len(set(names)) == len(names)


def test_what_comes_from_steps_is_a_column_there():
    for column in ROW:
        if isinstance(column.source, FromSteps):
            assert column.source.column in STEPS.names


def test_only_what_steps_may_lack_is_optional():
    named = {c.name: c for c in ROW}
    for always in ("state", "action", "reward", "human", "valid", "gap", "t_ns"):
        assert not named[always].optional
    assert RowColumn("age", I64, "", FromSteps("state_age_ns")).optional


def test_what_a_batch_takes_is_held_in_memory():
    assert all(column.held for column, _ in uses())


@pytest.mark.parametrize(
    ("name", "axes", "kind"),
    [
        ("next_state", ("S",), F32),
        ("action", ("H", "D"), F32),
        ("mask", ("H",), F32),
        ("reward", (), F32),
        ("human", (), BOOL),
        ("episode", (), I64),
    ],
)
def test_axes_of_a_batch(name: str, axes: tuple[str, ...], kind):
    (column,) = (c for c in batch_columns() if c.name == name)
    assert (column.axes, column.type) == (axes, kind)


def test_a_state_is_bootstrapped_from_and_a_reward_summed():
    taken = {use.name: (column.name, use.take) for column, use in uses()}
    assert taken["next_state"] == ("state", Take.BOOTSTRAP)
    assert taken["reward"] == ("reward", Take.RETURN)


def test_the_guide_has_the_table_of_the_description():
    assert batch_table() in SNAPSHOTS.read_text(), (
        "docs/snapshots.md: put what storage_schemas.markdown.batch_table() gives in place of its table"
    )


def test_the_page_of_tables_has_samples_and_batches():
    assert "| `state` | (R, S) f32 | its own |" in sample_table()
    assert "| `action` | (B, H, D) f32 |" in batch_table()
    assert sample_table() in page()
    assert batch_table() in page()
