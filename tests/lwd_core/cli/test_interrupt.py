"""Ctrl-C in the middle of an ingest: exit code 130, no traceback, and the same command goes on from there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lwd_core.lake.store import Lake
from tests.lwd_core.logs.robot_logs import episode_log

LOGS = 40
FILE = """\
name: arm
control_hz: 50
match: {embodiment: arm}
time: {ticks: /state}
state: [{topic: /state, field: values, dims: [{name: a}, {name: b}, {name: c}]}]
action: [{topic: /action/executed, field: values, dims: [{name: u}, {name: v}]}]
"""


def test_an_interrupted_ingest_goes_on_where_it_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "embodiments").mkdir(parents=True)
    (home / "embodiments" / "arm.yaml").write_text(FILE)
    day = home / "landing" / "lab" / "2023-11-14" / "r1"
    day.mkdir(parents=True)
    for i in range(LOGS):
        (day / f"run-{i}.mcap").write_bytes(episode_log(300 + i, seed=i))
    command = [Path(sys.executable).with_name("lwd"), "ingest"]
    environment = os.environ | {"LWD_HOME": str(home)}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # as a terminal starts a command; a shell's background jobs ignore SIGINT, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (home / "lake" / "tables" / "logs" / "_delta_log").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    lake = Lake.open(str(home / "lake"))
    assert lake.sql("SELECT count(*) AS n FROM episodes").to_pylist() == [{"n": LOGS}]
    assert lake.sql("SELECT DISTINCT state FROM logs").to_pylist() == [{"state": "accepted"}]
