from pathlib import Path

import pyarrow as pa

from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.diff import diff
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import TABLES
from tests.lwd_core.snapshots.lakes import START, add_episode


def build(lake: Lake, root: Path, **spec) -> Snapshot:
    return build_snapshot(lake, SnapshotSpec.parse({"name": "all", **spec}), str(root), now_ns=START)


def test_equal_snapshots_do_not_differ(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 5)
    snapshot = build(lake, tmp_path / "s")
    assert not diff(snapshot, snapshot)


def test_says_which_robots_tasks_labels_and_episodes(lake: Lake, tmp_path: Path):
    first, second = add_episode(lake, 1, 5), add_episode(lake, 2, 6, task="push", robot_id="r2")
    a = build(lake, tmp_path / "s")
    third = add_episode(lake, 3, 7, robot_id="r3")
    row = dict.fromkeys(TABLES["labels"].names) | {
        "layer_id": "reward.other@1", "kind": "reward", "log_id": "l", "site": "lab", "day": "2026-01-01",
        "created_ns": 1, "step": 2, "value": 0.5,
    }  # fmt: skip
    labels = [row | {"episode_id": first}, row | {"episode_id": third}]
    lake.append("labels", pa.Table.from_pylist(labels, TABLES["labels"].schema))
    b = build(lake, tmp_path / "s", tasks=["reach"], labels={"reward": "reward.other@1"})
    found = diff(a, b)
    assert found.only_a == [second]
    assert found.only_b == [third]
    assert found.labels == [first]
    assert found.steps == []
    assert found.by["robot_id"] == {"r2": (1, 0), "r3": (0, 1)}
    assert found.by["task"] == {"push": (1, 0), "reach": (1, 2)}
    assert found.spec["tasks"] == ([], ["reach"])
    assert found.versions["labels"] == (None, b.manifest.versions["labels"])
    assert "arm.state" in found.stats


def test_names_facts_that_changed(lake: Lake, tmp_path: Path):
    identity = add_episode(lake, 1, 5)
    a = build(lake, tmp_path / "s")
    row = lake.read("episodes")
    column = TABLES["episodes"].names.index("outcome")
    lake.replace(
        "episodes", row.set_column(column, "outcome", pa.array(["failure"])), {"episode_id": [identity]}
    )
    found = diff(a, build(lake, tmp_path / "s"))
    assert found.facts == {identity: {"outcome": ("success", "failure"), "success": (True, False)}}
    assert found.labels == [identity]
