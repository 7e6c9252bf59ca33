"""A robot of one's own in real time, from its class to rows, as a user would."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.examples.installed import lwd
from tests.lwd_core.fleet.logs import Log
from tests.packages import PLUGINS, lay_project

DRIVE = ("robot", "run", "--policy", "none", "--controls", "my-leader", "--operator", "anna")


def test_it_is_looked_at_driven_and_taken_into_an_empty_home(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "my_arm", tmp_path / "site"), tmp_path / "home"
    assert '"hz"' in lwd(home, site, "robot", "check", "--robot", "my-arm", "--seconds", "0.5", "--json")
    said = lwd(home, site, *DRIVE, "--robot", "my_arm:MyArm", "--set", "port=/dev/ttyUSB3", "--episodes", "2")
    assert "2 episodes, 2 successful" in said
    lwd(home, site, "ingest")
    (row,) = json.loads(
        lwd(
            home,
            site,
            "sql",
            "--format",
            "json",
            "SELECT embodiment, task, outcome, source, count(*) AS n, min(human_steps / steps) AS human, "
            "bool_and(attributes::JSON->>'jitter_us_p99' IS NOT NULL) AS measured FROM episodes GROUP BY ALL",
        )
    )
    assert row == {
        "embodiment": "my-arm",
        "task": "reach",
        "outcome": "success",
        "source": "demonstration",
        "n": 2,
        "human": 1.0,
        "measured": True,
    }
    # limits, as the file of the home has them: its team may tighten them
    file = home / "embodiments" / "my-arm.yaml"
    file.write_text(file.read_text().replace("low: -1.5, high: 1.5", "low: -0.1, high: 0.1"))
    drive = (*DRIVE, "--robot", "my-arm", "--episodes", "1", "--task", "lift", "--limit-s", "0.5")
    assert "--instruction" in lwd(home, site, *drive, fails=True)
    said = lwd(home, site, *drive, "--instruction", "lift it")
    assert "1 episodes, 0 successful" in said
    assert "lwd robot run --robot my-arm" in lwd(
        home, site, "fleet", "tasks", "--robot", "my-arm", fails=True
    )


def test_ctrl_c_stops_it_and_what_there_is_lands(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "my_arm", tmp_path / "site"), tmp_path / "home"
    (site / "my_arm" / "__init__.py").open("a").write(
        "\n\nclass Waits(MyLeader):\n    def drive(self, state):\n        print('moves', flush=True)\n"
        "        return state\n"
    )
    words = ("--robot", "my-arm", "--policy", "none", "--controls", "my_arm:Waits")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "lwd_core.cli.main", "robot", "run", *words],
        env={**os.environ, "LWD_HOME": str(home), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("moves")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "asked to stop" in said
    (log,) = (home / "landing").rglob("*.mcap")
    assert Log(log).events[-2:] == ["safe_stop", "episode_end"]


def test_a_simulated_robot_is_driven_the_same_way(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "robot", tmp_path / "site"), tmp_path / "home"
    words = ("robot", "run", "--robot", "point", "--policy", "none", "--controls", "expert", "--flat-out")
    assert "3 episodes, 3 successful" in lwd(home, site, *words, "--episodes", "3")
    lwd(home, site, "ingest")
    query = "SELECT embodiment, outcome, count(*) FROM episodes GROUP BY ALL"
    assert lwd(home, site, "sql", "--format", "csv", query).split()[-1] == "point-arm,success,3"
    assert "only simulated" in lwd(
        home,
        lay_project(PLUGINS / "my_arm", tmp_path / "other"),
        *words[:3],
        "my-arm",
        *words[4:8],
        fails=True,
    )
