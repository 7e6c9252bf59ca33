"""What a person gets wrong ends in one line and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.profile import PROFILES


def run(*command: str, home: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **({"LWD_HOME": home} if home else {})},
    )


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in said:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("drawer-open]", "juggle]", "task juggle: no such task; there are"),
        ("rate: 1.0", "rte: 1.0", "rte"),
    ],
)
def test_unknown_task_or_setting(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (PROFILES / "tiny.yaml").read_text()
    assert old in text
    profile = tmp_path / "mine.yaml"
    profile.write_text(text.replace(old, new))
    refused(run("pipelines.demo", "--profile", str(profile), "--home", str(tmp_path / "home")), said)


def test_unwritable_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file" / "home")
    refused(run("pipelines.demo", "--profile", "tiny", "--home", home), home, "--home")


def test_missing_embodiment(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"no log")
    refused(run("lwd_core.cli.main", "ingest", str(tmp_path / "a.mcap"), home=str(tmp_path)), "embodiment")


def test_a_log_that_is_none(tmp_path: Path) -> None:
    from lwd_core.fleet.workcells import Workcells

    Workcells().install(str(tmp_path / "embodiments"))
    (tmp_path / "a.mcap").write_bytes(b"no log")
    refused(run("lwd_core.cli.main", "ingest", str(tmp_path / "a.mcap"), home=str(tmp_path)), "a.mcap")


def test_a_second_driver_is_turned_away(tmp_path: Path) -> None:
    from pipelines.home import alone

    with alone(tmp_path):
        refused(run("pipelines.demo", "--profile", "tiny", "--home", str(tmp_path)), "another run")
