import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.lineage import impact, trace
from lwd_core.reports.lineage import SHOWN, impact_page, write_trace_page
from storage_schemas.tables import LOGS, POLICIES, RELEASES, SNAPSHOT_MEMBERS, SNAPSHOTS
from tests.lwd_core.labels.conftest import episode_rows

BASE = {"created_ns": 1}


def rows(table, *values):
    return pa.Table.from_pylist([BASE | v for v in values], schema=table.schema)


@pytest.fixture
def lake(tmp_path):
    """sft (snapshot a: e0, e1) → offline (snapshot b: e1, e2) → online (b, c: e3); e4 is in none."""
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    lake.append("episodes", episode_rows(5))
    log = {"site": "north", "day": "2026-01-01", "robot_id": "r0", "format": "mcap", "bytes": 1}
    log |= {"state": "accepted", "messages": 100, "episodes": 1}
    lake.append("logs", rows(LOGS, *(log | {"log_id": f"l{i:04d}", "uri": f"l{i}.mcap"} for i in range(5))))
    members = {"a": (0, 1), "b": (1, 2), "c": (3,)}
    lake.append(
        "snapshot_members",
        rows(
            SNAPSHOT_MEMBERS,
            *(
                {"digest": d, "episode_id": f"e{i:04d}", "log_id": f"l{i:04d}", "split": "train"}
                | {"shard": "0.tar", "index_in_shard": 0}
                for d, m in members.items()
                for i in m
            ),
        ),
    )
    snapshot = {"uri": "u", "state": "valid", "spec": "{}", "versions": "{}", "steps": 1, "bytes": 1}
    lake.append(
        "snapshots",
        rows(
            SNAPSHOTS, *(snapshot | {"digest": d, "name": d, "episodes": len(m)} for d, m in members.items())
        ),
    )
    policy = {"uri": "u", "checkpoint": "c", "train_step": 1, "config": "{}"}
    lake.append(
        "policies",
        rows(
            POLICIES,
            policy | {"policy_id": "sft0", "stage": "sft", "parent": None, "snapshots": ["a"]},
            policy | {"policy_id": "off0", "stage": "offline", "parent": "sft0", "snapshots": ["b"]},
            policy | {"policy_id": "onl0", "stage": "online", "parent": "off0", "snapshots": ["b", "c"]},
        ),
    )
    release = {"channel": "production", "state": "production", "evidence": "{}"}
    lake.append("releases", rows(RELEASES, release | {"release_id": "r1", "policy_id": "onl0"}))
    return lake


def test_a_policy_is_traced_through_its_parents_to_logs(lake):
    found = trace(lake, "onl")
    assert found.ancestry.column("policy_id").to_pylist() == ["onl0", "off0", "sft0"]
    episodes = {row["episode_id"]: row for row in found.episodes.to_pylist()}
    assert sorted(episodes) == ["e0000", "e0001", "e0002", "e0003"]
    assert episodes["e0001"]["snapshots"] == ["a", "b"]
    assert episodes["e0003"]["uri"] == "l3.mcap"
    assert (episodes["e0003"]["first_message"], episodes["e0003"]["last_message"]) == (0, 99)


def test_a_first_policy_has_only_its_own(lake):
    assert trace(lake, "sft0").episodes.column("episode_id").to_pylist() == ["e0000", "e0001"]


@pytest.mark.parametrize(
    ("thing", "snapshots", "policies"),
    [
        ("e0000", ["a"], ["sft0", "off0", "onl0"]),
        ("l0003", ["c"], ["onl0"]),
        ("e0004", [], []),
        ("r1", ["a", "b"], ["sft0", "off0", "onl0"]),
    ],
)
def test_impact_reaches_every_policy_that_inherits(lake, thing, snapshots, policies):
    found = impact(lake, thing)
    assert sorted(found.snapshots.column("digest").to_pylist()) == snapshots
    assert sorted(found.policies.column("policy_id").to_pylist()) == sorted(policies)
    assert found.releases.num_rows == (1 if policies else 0)


def test_an_unknown_thing_is_said(lake):
    with pytest.raises(UserError, match="nobody: no episode, log or robot"):
        impact(lake, "nobody")
    with pytest.raises(UserError, match="no such policy"):
        trace(lake, "zz")


def test_pages_hold_every_edge_and_load_nothing(lake, tmp_path):
    page = Path(write_trace_page(str(tmp_path), trace(lake, "onl0"))).read_text()
    assert all(word in page for word in ("sft0", "off0", "l3.mcap", "e0003", "Episodes and raw logs: 4"))
    page = impact_page("e0000", impact(lake, "e0000"))
    assert all(word in page for word in ("Releases: 1", "Policies: 3", "production"))
    assert "http" not in page


def test_a_name_from_a_log_cannot_become_markup(lake):
    assert "<script>" not in impact_page("<script>", impact(lake, "e0000"))


def test_a_long_table_is_cut_and_says_so(lake):
    found = impact(lake, "e0000")
    many = pa.concat_tables([found.episodes] * (SHOWN + 7))
    page = impact_page("e0000", dataclasses.replace(found, episodes=many))
    assert "… 7 more" in page
    assert page.count("<td>e0000</td>") == SHOWN


def test_policies_that_followed_the_lake_stand_on_what_they_may_have_drawn(lake):
    config = json.dumps({"run": "live", "follow": {"name": "live", "robots": ["r0", "r1"]}})
    everyone = lake.read("episodes").to_pylist()
    fits = {row["episode_id"] for row in everyone if row["robot_id"] in ("r0", "r1") and row["steps"]}
    assert 0 < len(fits) < len(everyone)
    policy = {"uri": "u", "checkpoint": "c", "train_step": 1, "config": config, "stage": "online"}
    policy |= {"parent": "sft0", "snapshots": ["a"]}
    arrived = max(row["created_ns"] for row in everyone)
    live = rows(
        POLICIES,
        policy | {"policy_id": "live0", "created_ns": arrived - 1},
        policy | {"policy_id": "live1", "created_ns": arrived},
    )
    lake.append("policies", live)
    traced = trace(lake, "live1").episodes.to_pylist()
    assert {row["episode_id"] for row in traced} == {"e0000", "e0001"} | fits
    assert [row["snapshots"] for row in traced if row["episode_id"] == "e0001"] == [["a"]]
    only = sorted(fits - {"e0000", "e0001"})[0]
    assert [row["snapshots"] for row in traced if row["episode_id"] == only] == [[]]
    reached = impact(lake, only).policies.column("policy_id").to_pylist()
    assert "live1" in reached
    assert "live0" not in reached
