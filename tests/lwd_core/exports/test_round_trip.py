"""A LeRobot v3.0 set through the lake and out again keeps every value."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwd_core.exports.export import export
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.source import LogSource
from lwd_core.settings import Settings
from tests.lwd_core.recorded import ARM, recorded_lake

SAMPLES = Path(os.environ.get("LWD_SAMPLE_DATA", Path(__file__).parents[4] / "shared/data"))
REACHY = SAMPLES / "lerobot/reachy2_apple_storage_v30"


def frames(folder: Path) -> pa.Table:
    """All data rows of a set, in the order of ``index``."""
    return pa.concat_tables([pq.read_table(p) for p in sorted(folder.glob("data/*/*.parquet"))])


def through_the_lake(folder: Path, tmp_path: Path) -> tuple[Lake, Path]:
    embodiment = parse_embodiment(render(infer(LogSource(str(folder)))))
    lake = Lake.open(str(tmp_path / "second"), create=True)
    settings = Settings(home=str(tmp_path))
    embodiments = {embodiment.name: embodiment}
    result = ingest(lake, settings, [str(folder)], embodiments=embodiments, now_ns=1)
    assert result.accepted.files == 1, result.reasons
    out = tmp_path / "again"
    export("lerobot", lake, out, embodiments=embodiments, videos=False)
    return lake, out


def test_our_own_set_comes_back_value_by_value(tmp_path):
    first = tmp_path / "set"
    export("lerobot", recorded_lake(tmp_path / "first"), first, embodiments={"arm": ARM}, videos=False)
    lake, second = through_the_lake(first, tmp_path)
    before, after = frames(first), frames(second)
    assert after.column_names == before.column_names
    for name in before.column_names:
        assert after.column(name).to_pylist() == before.column(name).to_pylist(), name
    facts = ("outcome", "outcome_from", "robot_id", "site", "task", "source")
    old, new = (
        pq.read_table(
            folder / "meta/episodes/chunk-000/file-000.parquet", columns=[f"lwd/{f}" for f in facts]
        )
        for folder in (first, second)
    )
    assert new.to_pylist() == old.to_pylist()
    assert lake.sql("SELECT count(*) AS n FROM segments WHERE kind = 'intervention'").to_pylist() == [
        {"n": 3}
    ]


@pytest.mark.skipif(not REACHY.is_dir(), reason=f"sample data not at {SAMPLES}")
def test_a_real_set_comes_back_value_by_value(tmp_path):
    _, second = through_the_lake(REACHY, tmp_path)
    before, after = frames(REACHY), frames(second)
    for name in before.column_names:
        assert after.column(name).to_pylist() == before.column(name).to_pylist(), name
