"""The report from made-up findings: every number of the JSON is the page's, and the page stands alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lwd_core.policies.intervals import wilson
from lwd_core.reports.findings import (
    Evaluated,
    Findings,
    FleetDay,
    Received,
    RoundFindings,
    RoundOfLearning,
    ValueCurve,
    read_diagnosis,
    read_metrics,
)
from lwd_core.reports.page import write_report


def learned(name: str, ok: int, day: str) -> RoundFindings:
    tasks = {"push": wilson(ok, 100), "door <open>": wilson(ok // 2, 50)}
    return RoundFindings(
        round=RoundOfLearning(name, name.split("-")[0], day, f"policy-of-{name}"),
        fleet=FleetDay(day, 12, wilson(6, 12), 4, 0.1),
        evaluation=Evaluated(wilson(ok + ok // 2, 150), tasks),
        training={"policy_loss": 0.5},
        curves={"policy_loss": [(0.0, 1.0), (10.0, 0.5)], "critic_loss": [(0.0, -1.0), (10.0, 0.1)]},
    )


@pytest.fixture
def findings() -> Findings:
    return Findings(
        rounds=(learned("sft", 40, "2025-03-03"), learned("online-1", 90, "2025-03-05")),
        values=(
            ValueCurve("e1", "push", "success", "value.online-1@1", (0, 5), (0.2, 0.9), ((0, 3),)),
            ValueCurve("e2", "push", "failure", "value.online-1@1", (0, 5), (0.2, 0.1), ()),
        ),
        received=(Received("accepted", 12, 3_000_000),),
    )


def test_page_and_json_agree(findings: Findings, tmp_path: Path) -> None:
    report = write_report(str(tmp_path), findings, title="A <fleet>", now_ns=0)
    record = json.loads(Path(report.json).read_text())
    page = Path(report.html).read_text()
    assert record["gain"]["intervals_apart"] is True
    assert record["gain"]["difference"] == pytest.approx(0.5)
    assert [r["round"]["name"] for r in record["rounds"]] == ["sft", "online-1"]
    assert "40.0 %" in page
    assert "90.0 %" in page
    assert "do not overlap" in page
    assert "3,000,000" in page
    # names are text, never markup, and nothing is fetched from elsewhere
    assert "door &lt;open&gt;" in page
    assert "A <fleet>" not in page
    assert "http" not in page
    assert page.count("data:image/png;base64,iVBOR") == 4
    assert all(image.startswith(b"\x89PNG") for image in report.figures.values())


def test_what_was_found_of_a_run_stands_in_the_report(findings: Findings, tmp_path: Path) -> None:
    bad = {
        "measure": "τ",
        "found": "0.60 → 0.42",
        "expected": "≥ 0.5",
        "verdict": "bad",
        "remedy": "raise <it>",
    }
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "assessment.json").write_text(json.dumps({"findings": [bad]}))
    assessed = replace(findings.rounds[1], diagnosis=read_diagnosis(str(folder / "metrics.jsonl")))
    report = write_report(
        str(tmp_path), replace(findings, rounds=(findings.rounds[0], assessed)), title="x", now_ns=0
    )
    page, record = Path(report.html).read_text(), json.loads(Path(report.json).read_text())
    assert "0.60 → 0.42" in page
    assert "<b>online-1, τ</b>: raise &lt;it&gt;" in page
    assert [r["diagnosis"] for r in record["rounds"]] == [[], [bad]]
    plain = write_report(str(tmp_path), findings, title="x", now_ns=0)
    assert "Is the critic any good" not in Path(plain.html).read_text()


def test_a_report_without_anything_still_reads(tmp_path: Path) -> None:
    report = write_report(str(tmp_path), Findings((), (), ()), title="empty", now_ns=0)
    assert json.loads(Path(report.json).read_text())["gain"] == {}


def test_metrics_survive_a_cut_line_and_infinities(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1, "loss": 2.0}\n{"update": 2, "loss": Infinity}\n{"update": 3, "lo')
    assert read_metrics(str(path)) == {"loss": [(1.0, 2.0)]}
    assert read_metrics(str(tmp_path / "none.jsonl")) == {}
