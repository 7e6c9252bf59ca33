import json
from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.diff import diff
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import EVALUATIONS, POLICIES, TABLES
from tests.lwd_core.snapshots.lakes import START, add_episode


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), create=True)


def add_policy(lake: Lake, name: str, snapshots: list[str], config: dict, parent: str | None = None) -> None:
    row = {
        "policy_id": name,
        "uri": "u",
        "stage": "sft",
        "parent": parent,
        "checkpoint": "c",
        "train_step": 9,
    }
    row |= {"snapshots": snapshots, "config": json.dumps(config), "created_ns": 1}
    lake.append("policies", pa.Table.from_pylist([row], POLICIES.schema))


def add_results(lake: Lake, policy: str, task: str, successes: list[bool]) -> None:
    row = {"policy_id": policy, "task": task, "steps": 5, "created_ns": 1}
    rows = [row | {"seed": i, "success": s} for i, s in enumerate(successes)]
    lake.append("evaluations", pa.Table.from_pylist(rows, EVALUATIONS.schema))


@pytest.fixture
def two(lake: Lake, tmp_path: Path) -> Lake:
    """Policy aa: episodes 1, 2. Policy bb: 1 and 3, other rewards, another rate, better at reaching."""
    place = str(tmp_path / "snapshots")

    def build(**spec: object) -> str:
        return build_snapshot(lake, SnapshotSpec.parse({"name": "all", **spec}), place, now_ns=START).digest

    first = add_episode(lake, 1, 5)
    add_episode(lake, 2, 6, task="push", robot_id="r2")
    one = build()
    third = add_episode(lake, 3, 7, robot_id="r3")
    label = dict.fromkeys(TABLES["labels"].names) | {
        "layer_id": "reward.other@1", "kind": "reward", "log_id": "l", "site": "lab", "day": "2026-01-01",
        "created_ns": 1, "step": 2, "value": 0.5,
    }  # fmt: skip
    labels = [label | {"episode_id": identity} for identity in (first, third)]
    lake.append("labels", pa.Table.from_pylist(labels, TABLES["labels"].schema))
    other = build(tasks=["reach"], labels={"reward": "reward.other@1"})
    add_policy(lake, "aa", [one], {"updates": 10, "learner": {"rate": 0.1, "chunk": 5}})
    add_policy(lake, "bb", [other], {"updates": 10, "learner": {"rate": 0.2, "chunk": 5}}, parent="aa")
    add_results(lake, "aa", "reach", [True, False, False, False])
    add_results(lake, "bb", "reach", [False, True, True, True, True])
    add_results(lake, "aa", "push", [True, True])
    return lake


def test_data_labels_config_and_results(two: Lake, tmp_path: Path) -> None:
    found = diff(two, str(tmp_path / "snapshots"), "a", "b")
    assert (found.data.a, found.data.b, found.data.shared) == (2, 2, 1)
    assert found.data.by["robot_id"] == {"r2": (1, 0), "r3": (0, 1)}
    assert found.data.by["task"] == {"push": (1, 0), "reach": (1, 2)}
    assert len(found.data.only_a) == len(found.data.only_b) == 1
    assert len(found.labels.rewards) == 1
    assert [side[0]["reward"] for side in found.labels.layers["labels"]] == [None, "reward.other@1"]
    assert found.config == {"learner.rate": (0.1, 0.2)}
    assert found.facts["parent"] == (None, "aa")
    push, reach, overall = found.results
    assert (push.task, push.b.trials, push.p) == ("push", 0, None)
    assert (reach.a.successes, reach.b.successes, reach.only_a, reach.only_b) == (1, 4, 1, 3)
    assert reach.p == pytest.approx(0.625)  # 2 · P(Binomial(4, ½) ≤ 1)
    assert (overall.task, overall.a.trials, overall.b.trials) == ("all", 6, 5)


def test_a_policy_does_not_differ_from_itself(two: Lake, tmp_path: Path) -> None:
    found = diff(two, str(tmp_path / "snapshots"), "aa", "aa")
    assert not found.facts
    assert not found.config
    assert not found.data.by
    assert (found.labels.layers, found.labels.rewards) == ({}, [])


def test_gone_shards_are_said(two: Lake, tmp_path: Path) -> None:
    found = diff(two, str(tmp_path / "nowhere"), "aa", "bb")
    assert len(found.labels.unread) == 2
    assert found.data.shared == 1


def test_an_unknown_policy_is_said(two: Lake, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such policy"):
        diff(two, str(tmp_path / "snapshots"), "aa", "zz")
