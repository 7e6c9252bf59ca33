"""Which layer counts: people over robots over models, or as a spec says."""

from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.labels.written import write_layer
from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.reuse import reusable
from lwd_core.snapshots.rule import spoken
from lwd_core.snapshots.select import pin, selected
from lwd_core.snapshots.shard_reader import samples
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from tests.lwd_core.snapshots.lakes import START, add_episode

NAMES = ("agreed", "majority", "tied", "robots", "models", "nobodys")
RULE = ["person", "robot", "model"]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six episodes: robots call all failures but the last two, of which they know nothing."""
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    ids = {
        name: add_episode(lake, name, 4, task=name, outcome="unknown" if name in NAMES[4:] else "failure")
        for name in NAMES
    }
    said = {
        "agreed": {"ann": "success", "bob": "success"},
        "majority": {"ann": "success", "bob": "success", "cid": "failure"},
        "tied": {"ann": "success", "bob": "failure"},
        "robots": {"ann": "unknown"},
    }
    set_labels(
        lake,
        [PersonLabel(ids[n], by, "outcome", text) for n, told in said.items() for by, text in told.items()],
        now_ns=START,
    )
    model = {"episode_id": [ids["models"], ids["agreed"]], "text": ["success", "failure"]}
    write_layer(lake, "clip.old@1", "outcome", pa.table(model), now_ns=1)
    write_layer(
        lake,
        "clip.new@1",
        "outcome",
        pa.table({"episode_id": [ids["agreed"]], "text": ["success"]}),
        now_ns=2,
    )
    return lake


def judged(lake: Lake, rule: object, **asked: object) -> dict[str, str]:
    spec = SnapshotSpec.parse({"name": "s", "labels": {"outcome": rule}} | asked)
    return {row["task"]: row["outcome"] for row in selected(lake, spec, pin(lake, spec))}


def test_people_count_over_robots_over_models(lake: Lake) -> None:
    assert judged(lake, RULE) == {
        "agreed": "success", "majority": "success", "tied": "failure", "robots": "failure",
        "models": "success", "nobodys": "unknown",
    }  # fmt: skip
    assert set(judged(lake, RULE, outcomes=["success"])) == {"agreed", "majority", "models"}
    assert judged(lake, ["person.bob.outcome@1", "robot"])["majority"] == "success"
    assert judged(lake, ["clip.*", "robot"])["agreed"] == "success"
    assert judged(lake, ["clip.old@1", "robot"])["agreed"] == "failure"


def test_what_no_part_speaks_of_is_refused(lake: Lake) -> None:
    with pytest.raises(UserError, match="label layer person, model: no label for 2 of 6 episodes"):
        judged(lake, ["person", "model"])
    spec = SnapshotSpec.parse({"name": "s", "labels": {"outcome": ["person", "model"]}})
    there = lake.read("episodes", where=spoken(spec.labels.outcome))["task"].to_pylist()
    assert sorted(there) == sorted(["agreed", "majority", "robots", "models"])


def test_a_person_who_thinks_better_of_it_makes_another_snapshot(lake: Lake, tmp_path: Path) -> None:
    spec = SnapshotSpec.parse({"name": "s", "chunk": 2, "labels": {"outcome": RULE}})
    built = build_snapshot(lake, spec, str(tmp_path / "s"), now_ns=1)
    members = {m.task: m for m in built.manifest.episodes}
    assert members["agreed"].success
    assert reusable(lake, spec) == built.digest
    agreed = members["agreed"].episode_id
    set_labels(lake, [PersonLabel(agreed, "zoe", "outcome", "success")], now_ns=START + 1)
    assert reusable(lake, spec) == built.digest
    set_labels(
        lake, [PersonLabel(agreed, by, "outcome", "failure") for by in ("ann", "bob")], now_ns=START + 2
    )
    assert reusable(lake, spec) is None
    again = build_snapshot(lake, spec, str(tmp_path / "s"), now_ns=1)
    assert again.digest != built.digest
    assert not {m.task: m for m in again.manifest.episodes}["agreed"].success
    assert Snapshot.open(str(tmp_path / "s"), built.digest).digest == built.digest


def test_rewards_come_from_the_first_layer_that_has_them(lake: Lake, tmp_path: Path) -> None:
    ids = dict(zip(NAMES, [e.id for n in NAMES for e in lake.episodes("task = ?", (n,))], strict=True))
    write_layer(lake, "grip@2", "reward", pa.table({"episode_id": [ids["tied"]], "value": [5.0]}), now_ns=1)
    rows = {"episode_id": [ids["tied"], ids["robots"]], "value": [1.0, 3.0]}
    write_layer(lake, "grip@1", "reward", pa.table(rows), now_ns=1)
    asked = {"name": "s", "chunk": 1, "labels": {"reward": ["grip@2", "grip@1", "outcome"], "outcome": RULE}}
    snapshot = build_snapshot(lake, SnapshotSpec.parse(asked), str(tmp_path / "s"), now_ns=1)
    opened = Snapshot.open(str(tmp_path / "s"), snapshot.digest)
    found = zip(opened.episodes, samples(opened, opened.episodes), strict=True)
    rewards = {member.task: float(arrays["reward"].sum()) for member, arrays in found}
    assert rewards == {"agreed": 1, "majority": 1, "tied": 5, "robots": 3, "models": 1, "nobodys": 0}


@pytest.mark.parametrize("rule", ["persn", ["robots", "person"], []])
def test_a_part_of_no_meaning_is_refused(rule: object) -> None:
    with pytest.raises(UserError, match="layer"):
        SnapshotSpec.parse({"name": "s", "labels": {"outcome": rule}})


def test_a_spec_of_one_layer_is_written_as_before() -> None:
    spec = SnapshotSpec.parse({"name": "s", "labels": {"outcome": "outcome.recorded@1"}})
    assert '"labels":{"blocking":[],"outcome":"outcome.recorded@1","reward":null}' in spec.to_json()
