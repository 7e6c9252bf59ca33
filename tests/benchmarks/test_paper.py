"""The whole table of the tiny plan, killed in the middle and taken up again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.paper.plan import LWD, SAME, calendar, cell_digest, cells, load_plan
from benchmarks.paper.results import keep, read_cells, render
from benchmarks.paper.run import Bench
from lwd_core.errors import UserError
from lwd_core.training.config import TrainConfig
from lwd_core.training.online import Publisher
from tests.packages import Install

ROOT = Path(__file__).parents[2]


def paper(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.paper", "--plan", "tiny", "--home", str(home / "paper"),
         "--page", str(home / "results.md"), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def test_the_table_is_made_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    made = tmp_path / "paper" / "seed-0" / "cells"
    first = paper(tmp_path)
    end = time.monotonic() + 240
    while len(list(made.glob("*.json"))) < 3:
        assert first.poll() is None, first.stdout and first.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("*.json")}
    second = paper(tmp_path)
    said, _ = second.communicate(timeout=400)
    assert second.returncode == 0, said
    plan = load_plan("tiny")
    results = read_cells(tmp_path / "paper")
    assert set(results) == {cell.name for cell in cells(plan)}
    assert {name: (made / name).stat().st_mtime_ns for name in before} == before
    for cell in cells(plan):
        (one,) = results[cell.name]
        assert one["digest"] == cell_digest(plan, cell)
        assert {task: t["trials"] for task, t in one["tasks"].items()} == dict.fromkeys(plan.names, 2)
    page = (tmp_path / "results.md").read_text()
    assert "Not made yet" not in page
    for title in (
        "SFT",
        "Filtered BC",
        "HG-DAgger",
        "LWD",
        "expectile in place of DIVL",
        "1 robot",
        "2 robots",
    ):
        assert f"| {title} |" in page
    # every cell is a policy of its own, and nothing is made twice
    assert len({one["policy_id"] for (one,) in results.values()}) == len(results)
    third = paper(tmp_path, "--rows", "sft")
    assert third.communicate(timeout=60) == ("", None)


@pytest.mark.parametrize("name", ["eyes", "full", "restock", "tiny"])
def test_a_plan_rests_only_on_what_comes_before(name: str) -> None:
    plan = load_plan(name)
    seen: set[str] = set()
    for cell in cells(plan):
        assert {cell.init, *(day.acts for day in (*cell.days, *cell.online))} - {None} <= seen
        seen.add(cell.name)
    days = calendar(plan)
    assert len(set(days.values())) == len(days)
    assert len({cell_digest(plan, cell) for cell in cells(plan)}) == len(cells(plan))


def test_a_changed_setting_changes_what_rests_on_it() -> None:
    plan = load_plan("full")
    other = plan.model_copy(update={"stages": {**plan.stages, "online": {"updates": 7}}})
    changed = {c.name for c, d in zip(cells(plan), cells(other), strict=True)
               if cell_digest(plan, c) != cell_digest(other, d)}  # fmt: skip
    assert changed == {c.name for c in cells(plan) if c.stage == "online"}


def test_cells_made_before_robots_could_look_stay() -> None:
    plan = load_plan("full")
    digests = {cell.name: cell_digest(plan, cell) for cell in cells(plan)}
    assert [digests[name][:8] for name in ("sft", "clone", "lwd")] == ["b3d8b71f", "6cd0b6c0", "65d4a4ee"]
    looks = plan.model_copy(update={"camera_hz": 16.0})
    assert not set(digests.values()) & {cell_digest(looks, cell) for cell in cells(looks)}


def test_another_cells_policy_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(load_plan("tiny"), 0, tmp_path)
    bench.make("sft")
    monkeypatch.setattr("benchmarks.paper.run.find_checkpoint", lambda checkpoints, name: "its")
    monkeypatch.setattr(Publisher, "__call__", lambda self, checkpoint: None)  # another process came after
    with pytest.raises(UserError, match=f"{tmp_path}: another process has just published sft"):
        bench.judge("clone")


def test_intervals_pool_seeds() -> None:
    plan = load_plan("tiny")
    one = {"trials": 10, "successes": 5, "steps_of_successes": [80] * 5}
    made = {
        LWD: [
            {"name": LWD, "title": "LWD", "seed": s, "human": 0.02, "tasks": dict.fromkeys(plan.names, one)}
            for s in (0, 1)
        ]
    }
    page = render(plan, "tiny", made)
    pooled = " | ".join([".50 [.30, .70] (.50, .50)"] * 3)
    assert f"| LWD | {pooled} | .50 [.35, .65] (.50, .50) | 2.0 % | 1.00 |" in page
    assert "Not made yet: sft" in page


def test_an_ablation_stands_beside_lwd_on_its_own_seeds() -> None:
    plan = load_plan("full")

    def cell(seed: int, successes: int) -> dict:
        one = {"trials": 10, "successes": successes, "steps_of_successes": [80] * successes}
        tasks = dict.fromkeys(plan.names, one)
        return {"name": SAME, "title": "LWD", "seed": seed, "human": 0.0, "tasks": tasks}

    one_step = {**cell(0, 4), "name": f"{LWD}-one-step", "title": "n-step off"}
    fql = {**cell(1, 8), "name": f"{LWD}-fql", "title": "FQL"}
    unpaired = {**cell(2, 1), "name": f"{LWD}-fql", "title": "FQL"}
    made = {SAME: [cell(0, 5), cell(1, 9)], f"{LWD}-one-step": [one_step], f"{LWD}-fql": [fql, unpaired]}
    head, _, page = render(plan, "full", made).partition("## Ablations")
    assert "Cells by their seeds: 0, 1: `lwd-same`; 1, 2: `lwd-fql`; 0: `lwd-one-step`." in head
    assert "| n-step off | 0 | .40 [.26, .55] | .50 [.35, .65] | .40 [.30, .51] | .50 [.39, .61] |" in page
    assert "| FQL | 1 | .80 [.65, .90] | .90 [.77, .96] | .80 [.70, .87] | .90 [.81, .95] |" in page


def test_seeds_made_elsewhere_stay_and_cells_of_another_plan_go(tmp_path: Path) -> None:
    plan, record = load_plan("tiny"), tmp_path / "results.json"
    of = {cell.name: cell_digest(plan, cell) for cell in cells(plan)}

    def made(seed: int, success: float, digest: str = of[LWD]) -> dict[str, list[dict]]:
        return {LWD: [{"name": LWD, "seed": seed, "success": success, "digest": digest}]}

    keep(plan, record, made(0, 0.5))
    keep(plan, record, made(1, 0.6))
    keep(plan, record, made(2, 0.9, digest="another plan's"))
    found = keep(plan, record, made(0, 0.7))
    assert [(one["seed"], one["success"]) for one in found[LWD]] == [(0, 0.7), (1, 0.6)]
    assert keep(plan, record, {}) == found


def test_an_unknown_plan_is_named() -> None:
    with pytest.raises(UserError, match="eyes, full, restock, tiny"):
        load_plan("huge")


@pytest.mark.parametrize("name", ["eyes", "full", "restock", "tiny"])
def test_every_cell_is_a_training_configuration(name: str, install: Install) -> None:
    install("finder")  # which plan restock sees by
    for cell in cells(load_plan(name)):
        online = "y" if cell.online else None
        value = {**cell.settings, "run": cell.name, "stage": cell.stage, "init": cell.init}
        parsed = TrainConfig.parse({**value, "offline": "x", "online": online})
        assert parsed.stage == cell.stage
