"""`lwd logs remap` on the command line: what changed is said, what had to stay is named."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from tests.lwd_core.ingest.test_remap import SECOND, Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("LWD_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def test_all_the_change_concerns(home: Home) -> None:
    home.map(SECOND)
    result = CliRunner().invoke(app, ["logs", "remap", "--embodiment", "cube"])
    assert (result.exit_code, result.stdout) == (0, "remapped 2 logs, 4 episodes, 20 steps\n")
    assert CliRunner().invoke(app, ["logs", "remap"]).stdout == "remapped 0 logs, 0 episodes, 0 steps\n"


def test_a_log_that_stays_is_named(home: Home) -> None:
    home.map(SECOND)
    (raw,) = Path(home.settings.landing).rglob("two.npz")
    raw.unlink()
    result = CliRunner().invoke(app, ["logs", "remap", "one.npz", "two.npz", "--json"])
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["logs"], list(said["left"].values())) == (1, ["the raw log is not there any more"])
    assert f"left as it was: lab/2026-01-01/r1/{raw.name}: the raw log is not there any more" in result.stderr
