"""The whole loop, tiny: killed at awkward moments and finished (tests/demo.py), then left alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lwd_core.lake.store import Lake
from pipelines.profile import load_profile
from tests.demo import SECRET, finish

PLAN = load_profile("tiny")
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(finished_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(finished_demo, tmp_path_factory.mktemp("demo") / "home"))


@pytest.fixture(scope="module")
def lake(home: Path) -> Lake:
    return Lake.open(str(home / "lake"))


def test_every_planned_episode_is_there_once(lake: Lake) -> None:
    found = {
        (row["day"], row["site"], row["source"]): row["n"]
        for row in lake.sql("SELECT day, site, source, count(*) AS n FROM episodes GROUP BY ALL").to_pylist()
    }
    assert found == {
        (PLAN.day(r.name), site, str(r.fleet.source)): len(PLAN.tasks) * r.fleet.episodes_per_task
        for r in PLAN.rounds
        for site in PLAN.sites
    }


def test_nothing_received_is_lost(home: Path, lake: Lake) -> None:
    landing = home / "landing"
    received = {str(p.relative_to(landing)): p.stat().st_size for p in landing.rglob("*.mcap")}
    rows = lake.sql("SELECT uri, bytes, state FROM logs").to_pylist()
    assert {row["uri"]: row["bytes"] for row in rows} == received
    assert {row["state"] for row in rows} == {"accepted"}


def test_lineage_reaches_from_policies_to_logs(home: Path, lake: Lake) -> None:
    policies = lake.sql("SELECT * FROM policies ORDER BY created_ns").to_pylist()
    pages = {p.stem for p in (home / "reports" / "lineage").glob("*.html")}
    assert pages == {p["policy_id"] for p in policies}
    assert [p["stage"] for p in policies] == [str(r.stage) for r in PLAN.rounds]
    assert [p["parent"] for p in policies] == [None, *(p["policy_id"] for p in policies[:-1])]
    for policy in policies:
        members = lake.sql(
            "SELECT count(*) AS n FROM snapshot_members m JOIN episodes USING (episode_id) "
            "JOIN logs l ON l.log_id = m.log_id WHERE list_contains(?, m.digest)",
            (policy["snapshots"],),
        ).to_pylist()
        assert members[0]["n"] > 0
    assert len(policies[-1]["snapshots"]) == 2


def test_a_narrow_terminal_shows_whole_paths(home: Path, lake: Lake) -> None:
    """Where a policy comes from ends in a log and its messages: neither may be cropped."""

    def lwd(*arguments: str) -> str:
        surroundings = {**os.environ, "LWD_HOME": str(home), "COLUMNS": "80"}
        command = [sys.executable, "-m", "lwd_core.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings).stdout

    named = [line for line in lwd("trace", "production").splitlines() if ".mcap" in line]
    logs = {row["uri"] for row in lake.sql("SELECT uri FROM logs").to_pylist()}
    assert named
    for line in named:
        uri, _, messages = line.rpartition(": ")[2].partition(" messages ")
        assert uri in logs
        assert messages.count("–") == 1
    row = lake.sql("SELECT episode_id, log_id FROM episodes LIMIT 1").to_pylist()[0]
    shown = lwd("episode", "show", row["episode_id"])
    assert row["log_id"] in "".join(c for c in shown if c.isalnum())
    assert "…" not in shown


def test_robots_ran_the_released_policies(lake: Lake) -> None:
    ran = lake.sql("SELECT DISTINCT policy_id FROM episodes WHERE policy_id IS NOT NULL").to_pylist()
    released = lake.sql("SELECT DISTINCT policy_id FROM releases").to_pylist()
    assert {r["policy_id"] for r in ran} <= {r["policy_id"] for r in released}
    later = lake.sql("SELECT count(*) AS n FROM episodes WHERE source = 'online' AND policy_id IS NULL")
    assert later.to_pylist()[0]["n"] == 0


def test_no_evaluation_scene_was_trained_on(lake: Lake) -> None:
    shared = lake.sql(
        "SELECT count(*) AS n FROM evaluations v JOIN episodes e "
        "ON e.task = v.task AND v.seed = (e.attributes->>'seed')::BIGINT"
    )
    assert shared.to_pylist()[0]["n"] == 0
    seeds = lake.sql("SELECT count(*) AS n FROM episodes WHERE attributes->>'seed' IS NOT NULL")
    assert seeds.to_pylist()[0]["n"] == lake.read("episodes").num_rows


def test_report_tells_of_every_round(home: Path, lake: Lake) -> None:
    folder = home / "reports" / "tiny"
    report = json.loads((folder / "report.json").read_text())
    assert [r["round"]["name"] for r in report["rounds"]] == [r.name for r in PLAN.rounds]
    trials = len(PLAN.tasks) * PLAN.evaluation.episodes_per_task
    assert all(r["evaluation"]["overall"]["trials"] == trials for r in report["rounds"])
    assert report["values"]
    assert (folder / "index.html").read_text().count("data:image/png") == 4
    assert lake.read("evaluations").num_rows == (trials + trials // 2) * len(PLAN.rounds)


NIGHT = """
import datetime as dt, sys
import dagster as dg
from pipelines.assets.policies import policy_of
from pipelines.definitions import defs
from pipelines.home import enter
from pipelines.platform import Platform
from pipelines.schedules import nightly_retraining
from pipelines.sensors import landing_sensor

enter(sys.argv[1], "tiny")
with dg.DagsterInstance.get() as instance:
    resources = {"platform": Platform()}

    def run(job, key):
        assert defs.resolve_job_def(job).execute_in_process(instance=instance, partition_key=key).success

    def tonight(day):
        return nightly_retraining(dg.build_schedule_context(
            instance=instance, resources=resources, scheduled_execution_time=day))

    night = dt.datetime(2025, 3, 8, 2, tzinfo=dt.UTC)
    assert isinstance(tonight(night), dg.SkipReason), "everything was learned from already"
    from pipelines.assets.fleet import fleet_logs
    dg.materialize([fleet_logs], instance=instance, resources=resources, partition_key="2025-03-07|harbour")
    asked = landing_sensor(dg.build_sensor_context(instance=instance, resources=resources)).run_requests
    assert [r.partition_key for r in asked] == ["2025-03-07|harbour"]
    run("ingest_day", asked[0].partition_key)
    request = tonight(night)
    run("learning_round", request.partition_key)
    print("policy", policy_of(Platform(), request.partition_key)["policy_id"])
    assert isinstance(tonight(night + dt.timedelta(days=1)), dg.SkipReason)
"""


def test_a_night_makes_a_canary_of_a_new_day(home: Path, lake: Lake) -> None:
    """A new day lands and is ingested; the night learns from it; the next night finds nothing new."""
    done = subprocess.run(
        [sys.executable, "-c", NIGHT, str(home)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    policy = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("policy"))
    row = lake.read("policies", where="policy_id = ?", params=(policy,)).to_pylist()[0]
    assert row["stage"] == "online"
    # it goes on from what the fleet runs, and production stays as it was
    releases = lake.sql("SELECT channel, policy_id, state FROM releases ORDER BY created_ns").to_pylist()
    production = [
        r["policy_id"] for r in releases if r["channel"] == "production" and r["state"] == "production"
    ]
    assert row["parent"] == production[-1]
    gated = [r for r in releases if r["channel"] == "canary" and r["policy_id"] == policy]
    assert all(r["state"] == "canary" for r in gated)
    assert policy not in production


def test_running_again_does_nothing(home: Path) -> None:
    before = {str(p): p.stat().st_mtime_ns for p in home.rglob("*.parquet")}
    began = os.times()
    output = finish(home)
    ended = os.times()
    # of a core, however busy the machine is
    assert ended.children_user + ended.children_system - began.children_user - began.children_system < 15
    assert output.count("done before") == 2 * len(PLAN.rounds) + 1
    assert {str(p): p.stat().st_mtime_ns for p in home.rglob("*.parquet")} == before


def test_it_wrote_no_secret_down(home: Path) -> None:
    """Run records, event logs, checkpoints and policies hold neither the environment's secret nor the key."""
    private = (home / "keys" / "signing.pem").read_bytes().splitlines()[1]
    files = [p for p in home.rglob("*") if p.is_file() and p != home / "keys" / "signing.pem"]
    assert len(files) > 100
    assert [p for p in files if any(s in p.read_bytes() for s in (SECRET.encode(), private))] == []


def test_another_profile_is_refused(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.demo", "--profile", "default", "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "was made with profile tiny" in done.stderr
    assert "Traceback" not in done.stderr
