"""With ``--json`` every command prints one JSON document and nothing else on standard output.

One story in one home goes through all commands. A new command gets a line in it.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.settings import Settings
from tests.lwd_core.cli.test_help import COMMANDS, STAYS
from tests.lwd_core.cli.test_interrupt import FILE
from tests.lwd_core.fleet.test_channel import bundle, release
from tests.lwd_core.logs.robot_logs import episode_log

#: what no line of the story runs -> why
ELSEWHERE = {
    "label ask": "it needs an endpoint; tests/lwd_core/judges/test_vlm.py has one",
    "label train": "it needs twenty labelled episodes; tests/lwd_core/judges/test_commands.py has them",
    "label hflow": "it needs a catalog; tests/lwd_core/labels/test_hflow.py has one",
    "hub pull": "it needs a Hub; tests/lwd_core/test_hub.py has one",
    "hub pull-policy": "it needs a Hub; tests/lwd_core/test_hub.py has one",
    "hub push": "it needs a Hub; tests/lwd_core/test_hub.py has one",
    "hub push-policy": "it needs a Hub; tests/lwd_core/test_hub.py has one",
    "export policy": "it needs one learned on a checkpoint; tests/lwd_core/policies/test_based.py has one",
    "vla show": "it needs a checkpoint; tests/lwd_core/policies/test_based.py has one",
    "robot permissions": "places are no buckets here; tests/lwd_core/robots has some",
    "features drop": "no frames here, so no layer; tests/lwd_core/cli/test_features.py has one",
    "robot check": "it needs somebody's robot; tests/examples/test_my_arm.py has one",
    "robot run": "it needs somebody's robot; tests/examples/test_my_arm.py has one",
    "train online": "it needs a policy of the fleet's robots; tests/e2e/test_follow.py has one",
}

RUN = """\
run: {run}
seed: {seed}
stage: sft
offline: {digest}
updates: 2
batch: 8
log_every: 1
network: {{hidden: 8, layers: 1, steps: 2}}
critic: {{hidden: 8, layers: 1}}
"""


class Story:
    """A home, and what its commands said. A word such as ``$episode`` stands for something told before."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.known: dict[str, str] = {"home": str(home)}
        self.told: set[str] = set()

    def lwd(self, words: str, exits: int = 0) -> Any:
        parts = words.split()
        for i, part in enumerate(parts):
            for name, value in self.known.items():
                part = part.replace(f"${name}", value)
            parts[i] = part
        result: Result = CliRunner().invoke(app, [*parts, "--json"])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"lwd {words}: {result.exception}") from result.exception
        assert result.exit_code == exits, f"lwd {words}: {result.stdout}{result.stderr}"
        self.told.add(max((name for name in COMMANDS if words.startswith(name)), key=len))
        try:
            return json.loads(result.stdout)
        except ValueError as error:
            raise AssertionError(f"lwd {words}: no JSON but {result.stdout[:200]!r}") from error


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setenv("LWD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Story(tmp_path / "home")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_command_answers_in_json(story: Story, tmp_path: Path) -> None:
    lwd, known = story.lwd, story.known
    log = tmp_path / "run-0.mcap"
    log.write_bytes(episode_log(60, seed=0))
    known |= {"log": str(log), "tmp": str(tmp_path), "query": "SELECT count(*) AS n FROM episodes"}

    assert lwd("init $home --name bot --log $log")["embodiment"] == f"{story.home}/embodiments/bot.yaml"
    assert lwd("embodiment infer $log --out $tmp/draft.yaml")["file"] == f"{tmp_path}/draft.yaml"
    (story.home / "embodiments" / "bot.yaml").write_text(FILE)
    assert lwd("embodiment check $home/embodiments/bot.yaml")["name"] == "arm"
    assert [e["name"] for e in lwd("embodiment list")] == ["arm"]

    day = story.home / "landing" / "lab" / "2023-11-14" / "r1"
    day.mkdir(parents=True)
    for i in range(3):
        (day / f"run-{i}.mcap").write_bytes(episode_log(60 + i, seed=i))
    assert lwd("ingest")["episodes"] == 3
    assert {row["state"] for row in lwd("logs")} == {"accepted"}
    assert lwd("logs same") == []
    assert lwd("logs reconcile")[0]["robot_id"] == "r1"
    assert lwd("logs retry")["episodes"] == 0
    assert lwd("logs remap")["logs"] == 0

    known["episode"] = lwd("episode list")[0]["episode_id"]
    assert lwd("episode show $episode")["facts"]["robot_id"] == "r1"
    links = lwd("episode link $episode --at 0.5 --url http://127.0.0.1:8000/run-0.mcap")
    assert Path(links["log"]).read_bytes() == log.read_bytes()
    assert links["rerun"].startswith("http://127.0.0.1:8000/run-0.mcap#when=message_log_time@")
    assert lwd("episode view $episode --save $tmp/e.rrd") == {"file": f"{tmp_path}/e.rrd"}
    assert lwd("sql $query") == [{"n": 3}]
    assert lwd("export episodes lerobot $tmp/set --no-videos")["episodes"] == 3
    assert lwd("lake stats")["tables"]
    assert "episodes" in lwd("lake compact")
    assert lwd("lake vacuum --dry-run") == []
    assert "CREATE" in lwd("lake shell-sql")["script"]

    (tmp_path / "mine.py").write_text(
        "from lwd_core import label\n\n@label('mine', version=1)\ndef mine(episode): return 1.0\n"
    )
    assert [run["layer_id"] for run in lwd("label run $tmp/mine.py")] == ["mine@1"]
    assert "mine@1" in {row["layer_id"] for row in lwd("label list")}
    assert lwd("label drop mine@1")
    assert lwd("label set $episode --by ann --outcome failure --note slips")["added"] == 1
    assert lwd("label queue unlabelled")[0]["wait"] == 2
    assert lwd("label export $tmp/said.csv")["labels"] == 1
    assert lwd("label import $tmp/said.csv")["unchanged"] == 1
    assert lwd("label models") == []
    assert known["episode"] not in {r["episode_id"] for r in lwd("search --like $episode@3 --by states")}
    assert lwd("search --duplicates --near 0") == []
    assert lwd("label agreement")["disagreements"] == []
    assert {row["kind"] for row in lwd("inbox")} <= {"check", "salvaged"}

    assert lwd("features build efficientnet-lite0 --height 32 --width 32")["frames"] == 0
    assert lwd("features list") == []

    (tmp_path / "spec.yaml").write_text("name: all\nchunk: 3\n")
    known["digest"] = lwd("snapshot build $tmp/spec.yaml")["digest"]
    assert [row["digest"] for row in lwd("snapshot list")] == [known["digest"]]
    assert lwd("snapshot verify $digest")["faults"] == []
    assert lwd("snapshot show $digest")["name"] == "all"
    assert lwd("snapshot diff $digest $digest")["spec"] == {}
    assert lwd("snapshot stats $digest")[0]["vector"] == "action"
    assert len(lwd("snapshot batch $digest --step 0 --batch-size 4")) == 4

    for run in ("clone", "second"):
        (tmp_path / f"{run}.yaml").write_text(RUN.format(run=run, seed=len(run), digest=known["digest"]))
        assert lwd(f"train run $tmp/{run}.yaml")["checkpoint"].endswith(f"{run}/step-2")
        known[run] = lwd(f"run policy {run}")["policy_id"]
    again = CliRunner().invoke(app, ["train", "run", f"{tmp_path}/clone.yaml"])
    assert again.stderr.endswith("run clone: finished before, nothing was trained, 2 updates\n")
    known["policy"] = known["clone"]
    assert lwd("run assess clone --split train --batches 1")
    assert {row["policy_id"] for row in lwd("policy list")} == {known["clone"], known["second"]}
    assert lwd("policy show $policy")["stage"] == "sft"
    assert lwd("policy diff $policy $policy")["config"] == {}
    assert lwd("policy publish $policy")["channel"] == "canary"
    assert lwd("policy promote")["channel"] == "production"
    assert lwd("policy publish $second --channel production")["policy_id"] == known["second"]
    assert lwd("policy rollback")["policy_id"] == known["policy"]
    assert lwd("policy judge") is None
    assert {row["channel"] for row in lwd("policy status")} == {"canary", "production"}
    assert lwd("policy refresh")[0]["number"]
    assert lwd("trace $policy")["policy_id"] == known["policy"]
    assert lwd("impact r1")["episodes"]

    known["key"] = lwd("keys rotate")["key_id"]
    assert {"yes", ""} == {row["signs"] for row in lwd("keys list")}
    other = next(row["key_id"] for row in lwd("keys list") if not row["signs"])
    (tmp_path / "other.pem").write_bytes((story.home / "keys" / "trusted" / f"{other}.pem").read_bytes())
    known["other"] = other
    assert lwd("keys distrust $other") == {"key_id": other, "trusted": False}
    assert lwd("keys trust $tmp/other.pem") == {"key_id": other, "trusted": True}

    (tmp_path / "arm-7.pem").write_text(lwd("robot key arm-7")["public"])
    assert lwd("robot enrol arm-7 --site lab --key $tmp/arm-7.pem")["site"] == "lab"
    assert lwd("robot pause arm-7")[0]["paused"] is True
    assert lwd("robot resume --all")[0]["paused"] is False
    assert lwd("robot follow canary arm-7")[0]["channel"] == "canary"
    assert lwd("robot list")[0]["state"] == "never seen"
    assert lwd("robot revoke arm-7")["revoked_ns"]

    plan = lwd("erase $episode --dry-run")
    assert plan[0]["episodes"] == [known["episode"]]
    assert plan[0]["erased"] is False
    assert lwd("erase $episode --yes")[0]["erased"] is True
    assert any(check["health"] for check in lwd("doctor"))

    told = {f"fleet {name}" for name in FLEET} | story.told | set(ELSEWHERE) | STAYS
    assert not set(COMMANDS) - told, "a new command? give it a line"


#: the simulator takes seconds for each of these
FLEET = {
    "tasks": "",
    "page": "",
    "demonstrate": "--per-task 1 --task push --cameras 0",
    "run": "--robots 1 --episodes 1 --task drawer-open --cameras 0 --speed 0",
    "evaluate": "$policy --task drawer-open --scenes 1",
}


@pytest.mark.parametrize("name", FLEET)
def test_a_fleet_answers_in_json(story: Story, name: str) -> None:
    made = bundle(Settings(), 1)
    release(Settings(), made, now_ns=time.time_ns())
    story.known["policy"] = made.policy_id
    said = story.lwd(f"fleet {name} {FLEET[name]}")
    facts = said[0] if isinstance(said, list) else said
    assert facts
