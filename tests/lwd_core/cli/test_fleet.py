"""lwd fleet: from demonstrations to judged policies, on the command line."""

import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.fleet import app
from lwd_core.cli.main import app as lwd
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from tests.lwd_core.fleet.test_channel import bundle, release


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    return Settings()


def lwd_fleet(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_tasks_are_listed() -> None:
    listed = lwd_fleet("tasks")
    assert "peg-insert-side" in listed
    assert "drawer-tour" in listed


@pytest.mark.parametrize("play", [False, True])
def test_demonstrations_land(settings: Settings, play: bool) -> None:
    arguments = ["--per-task", "1", "--task", "push", "--cameras", "0", "--day", "2026-03-04"]
    assert lwd_fleet("demonstrate", *arguments, *(["--play"] if play else [])).startswith("1 logs, ")
    (log,) = Path(settings.landing).rglob("*.mcap")
    assert log.parts[-3] == "2026-03-04"


@pytest.mark.parametrize(
    ("robot", "embodiment", "task", "told"),
    [
        ("metaworld", "sawyer", "push", "push the puck to the goal"),
        ("sawyer-eyes", "sawyer-eyes", "restock", r"put the \w+ (can|box|ball) on the \w+ shelf"),
    ],
)
def test_what_a_fleet_recorded_can_be_taken_in_at_once(
    settings: Settings, robot: str, embodiment: str, task: str, told: str
) -> None:
    lwd_fleet("demonstrate", "--robot", robot, "--per-task", "1", "--task", task, "--cameras", "0")
    done = CliRunner().invoke(lwd, ["ingest"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (row,) = Lake.open(settings.lake).read("episodes").to_pylist()
    assert (row["embodiment"], row["task"], row["outcome"]) == (embodiment, task, "success")
    assert re.fullmatch(told, row["instruction"])


def test_a_fleet_runs_on_its_channels(settings: Settings) -> None:
    release(settings, bundle(settings, 1), now_ns=time.time_ns())
    said = lwd_fleet(
        *("run", "--robots", "2", "--episodes", "1", "--task", "drawer-open", "--cameras", "0"),
        *("--speed", "0", "--canary-share", "0.5", "--clock-offset-s", "30"),
    )
    assert "2 episodes" in said
    assert len(list(Path(settings.landing).rglob("*.mcap"))) == 2


def test_a_policy_is_judged_and_the_episodes_are_kept(settings: Settings) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    for _ in range(2):
        assert "drawer-open" in lwd_fleet(
            "evaluate", made.policy_id[:6], "--task", "drawer-open", "--scenes", "2"
        )
    rows = Lake.open(settings.lake).read("evaluations").to_pylist()
    assert [(row["task"], row["policy_id"]) for row in rows] == [("drawer-open", made.policy_id)] * 2
    assert {(row["words"], row["robot"]) for row in rows} == {("usual", "metaworld")}
    told = ("--task", "drawer-open", "--scenes", "1", "--words", "unseen")
    lwd_fleet("evaluate", made.policy_id[:6], *told)  # told in another way, it takes nothing's place
    assert Lake.open(settings.lake).read("evaluations").to_pylist() == rows


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["demonstrate", "--task", "juggle"], "no such task; there are"),
        (["demonstrate", "--day", "yesterday"], "write it as"),
        (["demonstrate", "--robot", "sawyer-eyes", "--words", "wrong"], "only `lwd fleet evaluate` may"),
        (["run", "--robot", "sawyer-eyes", "--words", "wrong"], "only `lwd fleet evaluate` may"),
        (["run", "--sites", " , "], "at least one site"),
        (["run", "--canary-site", "moon"], "no robot stands there"),
        (["evaluate", "x", "--purpose", "training"], "use selection or evaluation"),
        (["evaluate", "x"], "no lake there"),
    ],
)
def test_wrong_input_names_the_remedy(settings: Settings, arguments: list[str], remedy: str) -> None:
    with pytest.raises(UserError, match=remedy):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
