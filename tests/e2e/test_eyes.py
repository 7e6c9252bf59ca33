"""The demo's profile with eyes, small and until offline: what robots are shown, learned from and reported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lwd_core.lake.store import Lake
from pipelines.profile import PROFILES, load_profile

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo of one robot and one task, by the profile's own settings."""
    folder = tmp_path_factory.mktemp("eyes")
    plan: dict[str, Any] = YAML(typ="safe").load((PROFILES / "eyes.yaml").read_text())
    plan |= {"sites": ["harbour"], "robots_per_site": 1, "cameras_per_site": 1, "tasks": ["drawer-open"]}
    plan["evaluation"]["episodes_per_task"] = 1
    plan["training"] |= {"batch": 8, "log_every": 2}
    del plan["rounds"][2:]  # online is the same with two snapshots: tests/lwd_core/features/test_following.py
    plan["rounds"][1]["fleet"]["watched"] = 0
    for planned in plan["rounds"]:
        planned["fleet"]["episodes_per_task"] = 1
        planned["training"]["updates"] = 4
        if "learner" in planned["training"]:
            planned["training"]["learner"]["policy_start"] = 1
            planned["training"]["learner"].get("reference", {}).pop("first", None)
    file = folder / "small.yaml"
    with file.open("w") as out:
        YAML().dump(plan, out)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.demo", "--profile", str(file), "--home", str(folder / "home")],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "home"


def test_the_profile_has_eyes_in_every_round() -> None:
    plan = load_profile("eyes")
    assert plan.cameras_per_site == plan.robots_per_site
    assert {r.stage.value for r in plan.rounds} == {"sft", "offline", "online"}
    assert plan.snapshot["frame_age_ms"] == 0


def test_robots_plan_by_what_is_logged_and_learned_from(home: Path) -> None:
    lake = Lake.open(str(home / "lake"))
    chunk = load_profile("eyes").snapshot["chunk"]
    planned = lake.sql(
        "SELECT count(*) AS plans, count(*) FILTER (s.frames[1].t_ns = s.t_ns) AS seen FROM steps s "
        "JOIN episodes e USING (episode_id) "
        "WHERE e.source = 'rollout' AND s.step % ? = 0 AND s.step < e.steps",
        (chunk,),
    ).to_pylist()[0]
    assert planned["plans"] == planned["seen"] > 0
    (layer,) = (home / "lake" / "features").iterdir()
    shown = lake.sql("SELECT count(DISTINCT f) AS n FROM (SELECT unnest(frames) AS f FROM steps)")["n"][
        0
    ].as_py()
    made = lake.sql(f"SELECT count(*) AS n FROM '{layer}/*/*/*.parquet' WHERE features IS NOT NULL")
    assert made["n"][0].as_py() == shown > 0
    digest = layer.name.partition("@")[2]
    for row in lake.read("policies").to_pylist():
        manifest = json.loads((home / "policies" / row["policy_id"] / "manifest.json").read_text())
        vision = manifest["network"]["field"]["encoder"]["vision"]
        assert vision["cameras"] == ["scene"]
        assert vision["seen_by"].startswith(digest)


def test_policies_are_judged_in_words_nobody_told_them(home: Path) -> None:
    lake = Lake.open(str(home / "lake"))
    judged = lake.sql("SELECT DISTINCT words, robot FROM evaluations").to_pylist()
    assert judged == [{"words": "unseen", "robot": "sawyer-eyes"}]
    assert lake.sql("SELECT DISTINCT policy_id FROM evaluations").num_rows == 2


def test_the_report_shows_what_was_seen(home: Path) -> None:
    page = (home / "reports" / "eyes" / "index.html").read_text()
    assert "Value along a film" in page
    assert "data:video/mp4;base64," in page
    assert "What the newest policy looks at" in page
    assert "data:video/mp4;base64," in (home / "reports" / "eyes" / "fleet.html").read_text()
