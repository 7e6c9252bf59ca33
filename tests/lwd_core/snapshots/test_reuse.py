"""A snapshot asked for again: the one there is, unless the lake or the question changed."""

from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.reuse import reusable
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import LABELS
from tests.lwd_core.recorded import recorded_lake

SPEC = SnapshotSpec(name="night", chunk=5)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return recorded_lake(tmp_path / "lake")


def test_the_same_episodes_are_the_same_snapshot(tmp_path: Path, lake: Lake) -> None:
    assert reusable(lake, SPEC) is None
    built = build_snapshot(lake, SPEC, str(tmp_path / "snapshots"), now_ns=1)
    assert reusable(lake, SPEC) == built.digest
    # another layer is no other content, though it is another version of the table
    label = {"layer_id": "value.x@1", "kind": "progress", "episode_id": "e0000", "log_id": "l0000",
             "site": "north", "day": "2026-01-01", "step": 0, "value": 0.5, "created_ns": 0}  # fmt: skip
    lake.append("labels", pa.Table.from_pylist([label], schema=LABELS.schema))
    assert reusable(lake, SPEC) == built.digest
    assert reusable(lake, SPEC.model_copy(update={"chunk": 4})) is None


def test_another_episode_is_another_snapshot(tmp_path: Path, lake: Lake) -> None:
    build_snapshot(lake, SPEC, str(tmp_path / "snapshots"), now_ns=1)
    rows = lake.read("episodes", where="episode_id = 'e0000'").to_pylist()
    steps = lake.read("steps", where="episode_id = 'e0000'").to_pylist()
    for name, copies in (("steps", steps), ("episodes", rows)):
        new = [row | {"episode_id": "e0009", "log_id": "l0009"} for row in copies]
        lake.append(name, pa.Table.from_pylist(new, schema=lake.read(name).schema))
    assert reusable(lake, SPEC) is None


def test_a_discount_by_episode_is_the_same_question(tmp_path: Path, lake: Lake) -> None:
    spec = SnapshotSpec.parse({"name": "night", "chunk": 5, "discount": {"episode": 0.5}})
    built = build_snapshot(lake, spec, str(tmp_path / "snapshots"), now_ns=1)
    assert reusable(lake, spec) == built.digest
    assert reusable(lake, SPEC) is None
