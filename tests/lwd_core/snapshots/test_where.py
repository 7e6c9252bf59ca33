"""What a spec's conditions may ask: the lake's tables, and no file."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.snapshots.select import pin, selected
from lwd_core.snapshots.spec import SnapshotSpec

OUTSIDE = [
    "EXISTS (FROM read_text('@FILE'))",
    "EXISTS (FROM '@FILE')",
    "EXISTS (FROM glob('@FILE'))",
    "EXISTS (FROM sniff_csv('@FILE'))",
    "EXISTS (FROM query('FROM read_text(''@FILE'')'))",
    "false AND EXISTS (FROM read_csv('@FILE'))",
    "true) UNION ALL (SELECT * FROM read_text('@FILE')",
    "true); COPY (SELECT 1) TO '@FILE'; SELECT (1",
    "EXISTS (FROM duckdb_settings())",
]


def asked(lake: Lake, **fields) -> list[dict]:
    spec = SnapshotSpec.parse({"name": "all", **fields})
    return selected(lake, spec, pin(lake, spec))


@pytest.mark.parametrize("condition", OUTSIDE)
@pytest.mark.parametrize("buffer", [False, True])
def test_a_condition_reads_no_file(fleet: Lake, tmp_path: Path, condition: str, buffer: bool):
    file = tmp_path / "secret.csv"
    file.write_text("a,b\n1,2\n")
    condition = condition.replace("@FILE", str(file))
    fields = {"buffers": [{"name": "b", "where": condition}]} if buffer else {"where": condition}
    with pytest.raises(UserError, match="spec 'all', where: query: ") as error:
        asked(fleet, **fields)
    assert "\n" not in str(error.value)
    assert file.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("steps > (SELECT avg(steps) FROM episodes)", 6),
        ("episode_id IN (SELECT episode_id FROM steps WHERE actor = 'human')", 4),
        ("task IN (SELECT unnest(['push', 'pull']))", 3),
        ("EXISTS (FROM range(3) WHERE range = steps - 20)", 3),
    ],
)
def test_a_condition_asks_the_lakes_tables(fleet: Lake, condition: str, count: int):
    assert len(asked(fleet, where=condition)) == count
