from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.embodiment import app
from lwd_core.errors import UserError
from tests.lwd_core.logs.robot_logs import episode_log, saved


def test_infer_then_check_then_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, folder = saved(tmp_path, episode_log(30)), tmp_path / "embodiments"
    folder.mkdir()
    out = str(folder / "arm.yaml")
    runner = CliRunner()
    assert runner.invoke(app, ["infer", log, "--out", out]).exit_code == 0
    assert "arm: 3 state dims, 2 action dims, 50 Hz, no camera" in runner.invoke(app, ["check", out]).output
    monkeypatch.setenv("LWD_EMBODIMENTS", str(folder))
    assert "arm: 3 state dims" in runner.invoke(app, ["list"]).output
    printed = runner.invoke(app, ["infer", log, "--name", "other"]).output
    assert "name: other" in printed
    again = runner.invoke(app, ["infer", log, "--out", out])
    assert isinstance(again.exception, UserError)


def test_bad_input_is_one_line(tmp_path: Path):
    runner = CliRunner()
    nothing = runner.invoke(app, ["infer", str(tmp_path / "none.mcap")])
    assert isinstance(nothing.exception, UserError)
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\ncontrol_hz: quick\n")
    assert "bad.yaml:2: control_hz" in str(runner.invoke(app, ["check", str(bad)]).exception)
