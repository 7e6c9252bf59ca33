"""`lwd label`: run a file or a name, list, drop."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from tests.lwd_core.snapshots.lakes import add_episode
from tests.packages import EXAMPLES, Install

MINE = """
from lwd_core.labels import label

@label("half", version=1)
def half(episode):
    return 1 / (len(episode) - 4)
"""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for i in range(3):
        add_episode(lake, i, 3 + i)
    return lake


def lwd(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_file_is_run_listed_and_dropped(lake: Lake) -> None:
    file = str(EXAMPLES / "label.py")
    first = lwd("label", "run", file)
    assert first.exit_code == 0, first.output
    assert "hand.low@1: 3 episodes labelled, 3 labels" in first.output
    assert "hand.low@1: 0 episodes labelled" in lwd("label", "run", file).output
    found = {row["layer_id"]: row for row in json.loads(lwd("label", "list", "--json").output)}
    assert found["hand.moves@1"] == {
        "layer_id": "hand.moves@1", "kind": "quality", "episodes": 3, "rows": 3, "unlabelled": 0
    }  # fmt: skip
    gone = json.loads(lwd("label", "drop", "hand.low@1", "--json").output)
    assert gone == {"layer_id": "hand.low@1", "episodes": 3, "rows": 3}
    assert "hand.low@1" not in lwd("label", "list").output
    with pytest.raises(UserError, match="hand.low@1: there is none of that id; did you mean hand.moves@1"):
        lwd("label", "drop", "hand.low@1")


def test_a_condition_narrows_it_and_a_wrong_one_is_said(lake: Lake) -> None:
    (run,) = json.loads(
        lwd("label", "run", f"{EXAMPLES}/label.py:hand.low", "--where", "steps > 3", "--json").stdout
    )
    assert (run["layer_id"], run["total"], run["episodes"], run["failed"]) == ("hand.low@1", 2, 2, {})
    with pytest.raises(UserError, match="query: "):
        lwd("label", "run", f"{EXAMPLES}/label.py", "--where", "stepz > 3")


def test_episodes_that_fail_are_named_and_the_exit_code_says_so(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    result = lwd("label", "run", str(tmp_path / "mine.py"))
    assert result.exit_code == 1
    assert "half@1: 2 episodes labelled, 2 labels" in result.stdout
    assert "1 episodes failed" in result.stderr
    assert "ZeroDivisionError: division by zero (mine.py:6)" in result.stderr


def test_all_that_is_installed_and_what_is_broken(lake: Lake, install: Install) -> None:
    install("labels")
    install("acme", "raise OSError('no licence')", checks={"acme.spill": "acme:spill"})
    result = lwd("label", "run")
    assert result.exit_code == 1
    for layer in ("reward.sparse@1", "outcome.recorded@1", "quality@1", "kitchen.effort@1", "kitchen.calm@1"):
        assert f"{layer}: 3 episodes labelled" in result.stdout
    assert "broken: check acme.spill (acme:spill of acme 1.2) can't be imported: OSError" in result.stderr
    assert "broken: check acme.spill" in lwd("label", "list").stderr
    assert lwd("label", "run", "kitchen.calm").exit_code == 0


SLOW = """
import time
from pathlib import Path
from lwd_core.labels import label

@label("slow", version=1)
def slow(episode):
    if len(episode) == 5 and not Path("begun").exists():
        Path("begun").touch()
        time.sleep(60)
    return 1
"""


def test_ctrl_c_keeps_what_was_labelled_and_the_same_command_goes_on(lake: Lake, tmp_path: Path) -> None:
    for i in range(40):  # before that of 5 steps, which is of the last day
        add_episode(lake, f"short {i}", 2, day="2025-12-31")
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "lwd_core.cli.main", "label", "run", "slow.py"]
    environment = os.environ | {"LWD_HOME": str(tmp_path)}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        # as a terminal starts a command; a shell's background jobs ignore SIGINT, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert lake.read("labels").num_rows == 32  # the first batch
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    assert done.stdout == "slow@1: 11 episodes labelled, 11 labels\n", done.stderr
    assert lake.read("labels").num_rows == 43


def test_a_person_says_how_it_went(lake: Lake) -> None:
    first, *_ = lake.read("episodes", where="true ORDER BY steps")["episode_id"].to_pylist()
    said = ("label", "set", first[:10], "--by", "ann")
    words = ("--outcome", "failure", "--from", "0.1", "--to", "0.2", "--note", "slips")
    assert lwd(*said, *words).output == "2 new\n"
    assert lwd(*said, *words).output == "2 as they were\n"
    assert lwd(*said, "--outcome", "success", "--note", "it holds", "--stage", "lifted").output == (
        "1 new, 1 changed\n"
    )
    labels = lake.sql(
        "SELECT text, detail, step, last_step FROM labels WHERE replaced_ns IS NULL ORDER BY ALL"
    )
    assert [tuple(row.values()) for row in labels.to_pylist()] == [
        ("lifted", None, None, None), ("slips", None, 1, 2), ("success", "it holds", None, None),
    ]  # fmt: skip
    shown = lwd("episode", "show", first).output
    assert "person.ann.outcome@1" in shown
    assert "failure" not in shown
    assert lwd(*said, "--take-back", "stage").output == "1 taken back\n"
    for wrong, says in ((("--from", "0.1"), "needs words"), ((), "nothing said")):
        with pytest.raises(UserError, match=says):
            lwd(*said, *wrong)


def test_a_queue_gives_the_next_and_judging_shortens_it(lake: Lake) -> None:
    first = lwd("label", "queue", "unlabelled", "--limit", "1")
    assert "3 wait" in first.stderr
    (row,) = json.loads(lwd("label", "queue", "unlabelled", "--limit", "1", "--json").stdout)
    lwd("label", "set", row["episode_id"], "--by", "ann", "--outcome", "unknown")
    counts = {
        r["queue"]: r["wait"] for r in json.loads(lwd("label", "queue", "--by", "ann", "--json").stdout)
    }
    assert counts == {"failures": 0, "unlabelled": 2, "doubts": 0, "agreement": 2, "contested": 0}


def test_labels_move_by_a_file_and_people_are_compared(lake: Lake, tmp_path: Path) -> None:
    ids = lake.read("episodes")["episode_id"].to_pylist()
    file = tmp_path / "said.csv"
    rows = [f"{i},{by},outcome,{text}" for i in ids for by, text in (("ann", "success"), ("bob", "failure"))]
    file.write_text("\n".join(["episode_id,by,kind,text", *rows]))
    assert lwd("label", "import", str(file)).output == "6 new\n"
    assert lwd("label", "import", str(file)).output == "6 as they were\n"
    out = lwd("label", "export", str(tmp_path / "out.json"), "--by", "bob").output
    assert out.endswith("out.json: 3 labels\n")
    assert lwd("label", "import", str(tmp_path / "out.json")).output == "3 as they were\n"
    assert lwd("label", "export").output.startswith("episode_id,by,kind,text,detail,from_s,to_s,at\n")
    shown = lwd("label", "agreement").output
    assert "ann: success, bob: failure" in shown
    found = json.loads(lwd("label", "agreement", "--json").output)
    assert len(found["disagreements"]) == 3
    assert {(a["one"], a["other"], a["agreed"]) for a in found["agreement"]} == {
        ("ann", "bob", 0), ("ann", "recorded", 3), ("bob", "recorded", 0),
    }  # fmt: skip
    with pytest.raises(UserError, match=r"call it \.csv or \.json"):
        lwd("label", "export", str(tmp_path / "out.txt"))
    with pytest.raises(UserError, match="can't be read"):
        lwd("label", "import", str(tmp_path / "none.csv"))
