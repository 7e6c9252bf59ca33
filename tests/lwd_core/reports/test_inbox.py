"""What needs a person's eye is found, said once, and goes when it is settled."""

from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.labels.written import write_layer
from lwd_core.lake.store import Lake
from lwd_core.policies.scenes import Purpose, seed_range
from lwd_core.reports.inbox import EACH, inbox
from storage_schemas.tables import EVALUATIONS, LOGS, POLICIES, RELEASES
from tests.lwd_core.snapshots.lakes import START, add_episode

DAY = 86_400 * 10**9
NOW = START + 30 * DAY


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), create=True)


def add_logs(lake: Lake, *facts: dict) -> None:
    common = {"site": "lab", "day": "2026-01-01", "robot_id": "r1", "format": "mcap", "bytes": 3,
              "messages": 0, "episodes": 0}  # fmt: skip
    rows = [
        dict.fromkeys(LOGS.names) | common | {"log_id": f"l{i}", "uri": f"lab/{i}.mcap"} | own
        for i, own in enumerate(facts)
    ]
    lake.append("logs", pa.Table.from_pylist(rows, LOGS.schema))


def said(lake: Lake, **asked) -> list[tuple]:
    return [(i.kind, i.what, i.count) for i in inbox(lake, now_ns=NOW, **asked)]


def test_a_quiet_lake_has_nothing_to_look_at(lake: Lake) -> None:
    add_episode(lake, 1, 3)
    assert inbox(lake, now_ns=NOW) == []


def test_logs_are_told_by_reason_salvaged_ones_for_a_while(lake: Lake) -> None:
    add_logs(
        lake,
        {"state": "quarantined", "reason": "no format", "created_ns": START},
        {"state": "quarantined", "reason": "no format", "created_ns": START + 1},
        {"state": "salvaged", "reason": "cut off", "created_ns": NOW - 20 * DAY},
        {"state": "salvaged", "reason": "cut", "created_ns": NOW - DAY},
        {"state": "accepted", "created_ns": NOW},
    )
    assert said(lake) == [("salvaged", "lab/3.mcap", 1), ("quarantined", "lab/1.mcap", 2)]
    assert len(said(lake, days=25)) == 3
    assert inbox(lake, now_ns=NOW)[1].says == "no format"


def test_a_hundred_reasons_are_no_hundred_lines(lake: Lake) -> None:
    add_logs(
        lake, *({"state": "quarantined", "reason": f"r{i}", "created_ns": START - i} for i in range(EACH + 9))
    )
    found = inbox(lake, now_ns=NOW)
    assert (len(found), sum(item.count for item in found)) == (EACH + 1, EACH + 9)
    assert found[-1].says == f"r{EACH}, and 8 other reasons"


def test_checks_that_failed_are_told_by_check(lake: Lake) -> None:
    ids = [add_episode(lake, i, 3) for i in range(3)]
    for layer, checks in (("moves@1", ["moves"] * 3), ("mine@1", ["risk.idle", "defect.x", "defect.x"])):
        rows = {
            "episode_id": ids,
            "check": checks,
            "text": ["fail", "fail", "pass"],
            "detail": ["", "far", ""],
        }
        write_layer(lake, layer, "quality", pa.table(rows), now_ns=NOW - DAY)
    assert said(lake) == [("check", "mine@1:defect.x", 1), ("check", "moves@1:moves", 2)]
    assert inbox(lake, now_ns=NOW)[0].says == "1 episodes fail it; far"
    assert said(lake, days=0.5) == []


def test_people_who_differ_and_doubts_stay_until_they_are_settled(lake: Lake) -> None:
    ids = [add_episode(lake, i, 3, start_ns=START + i) for i in range(2)]
    for by, text in (("ann", "success"), ("bob", "failure")):
        set_labels(lake, [PersonLabel(ids[0], by, "outcome", text)], now_ns=START + DAY)
    write_layer(lake, "clip@1", "outcome", pa.table({"episode_id": ids[1:], "text": ["failure"]}), now_ns=1)
    assert said(lake, days=60) == [("disagreement", ids[0], 1), ("doubts", ids[1], 1)]
    assert said(lake) == [("disagreement", ids[0], 1)]  # what a critic thinks of last month is past
    settle = [
        PersonLabel(ids[0], "bob", "outcome", "success"),
        PersonLabel(ids[1], "bob", "outcome", "failure"),
    ]
    set_labels(lake, settle, now_ns=START + 2 * DAY)
    assert said(lake, days=60) == []


def add_policies(lake: Lake, released: dict[str, list[tuple[str, str, int, str]]]) -> None:
    shared = {"uri": "p", "stage": "sft", "checkpoint": "c", "train_step": 1, "snapshots": [], "config": "{}"}
    rows = [
        dict.fromkeys(POLICIES.names) | shared | {"policy_id": p, "created_ns": NOW - DAY} for p in released
    ]
    lake.append("policies", pa.Table.from_pylist(rows, POLICIES.schema))
    events = [
        dict.fromkeys(RELEASES.names)
        | {"release_id": f"{p}{n}", "channel": channel, "policy_id": p, "state": state, "created_ns": at,
           "evidence": evidence, "number": n + 1}
        for p, told in released.items() for n, (channel, state, at, evidence) in enumerate(told)
    ]  # fmt: skip
    lake.append("releases", pa.Table.from_pylist(events, RELEASES.schema))


def test_policies_taken_back_refused_and_undecided_are_told(lake: Lake) -> None:
    production, canary = (
        ("production", "production", NOW - 9 * DAY, "{}"),
        ("canary", "canary", NOW - 5 * DAY, "{}"),
    )
    back = ("canary", "rolled_back", NOW - DAY, '{"reason": "it fails"}')
    add_policies(lake, {"good": [production], "waits": [canary], "bad": [back], "weak": []})
    first = seed_range(Purpose.SELECTION)[0]
    judged = [
        {"policy_id": p, "task": "reach", "seed": first + i, "success": p != "weak", "steps": 3,
         "created_ns": 1}
        for p in ("good", "weak") for i in range(40)
    ]  # fmt: skip
    lake.append("evaluations", pa.Table.from_pylist(judged, EVALUATIONS.schema))
    found = {item.kind: item for item in inbox(lake, now_ns=NOW)}
    assert set(found) == {"rolled back", "gate", "canary"}
    assert (found["rolled back"].what, found["rolled back"].says) == ("bad", "it fails")
    assert found["gate"].what == "weak"
    assert "is clearly below" in found["gate"].says
    assert found["canary"].what == "waits"
    assert found["canary"].says == "wait: 0 comparable episodes, 10 are needed (0 episodes)"
