import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from tests.lwd_core.logs.robot_logs import episode_log, saved


def lwd(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_new_lake_has_folders_tables_and_a_template_that_holds(tmp_path: Path) -> None:
    said = lwd("init", str(tmp_path / "lake"), "--name", "arm-7")
    assert "export LWD_HOME=" in said
    assert "lwd ingest LOG" in said
    assert sorted(p.name for p in (tmp_path / "lake").iterdir()) == ["embodiments", "lake", "landing"]
    assert list(load_embodiments(tmp_path / "lake" / "embodiments")) == ["arm-7"]
    assert Lake.open(str(tmp_path / "lake" / "lake")).read("episodes").num_rows == 0


def test_a_log_drafts_the_embodiment_and_can_be_ingested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = saved(tmp_path, episode_log(30, facts={"embodiment": "my-arm"}))
    home = tmp_path / "lake"
    said = json.loads(lwd("init", str(home), "--name", "my-arm", "--log", log, "--json"))
    assert said["embodiment"] == str(home / "embodiments" / "my-arm.yaml")
    assert f"lwd ingest {log}" in said["next"]
    monkeypatch.setenv("LWD_HOME", str(home))
    assert "accepted" in lwd("ingest", log)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    lwd("init", str(tmp_path / "lake"))
    before = {p: p.read_bytes() for p in (tmp_path / "lake").rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="not empty"):
        lwd("init", str(tmp_path / "lake"), "--name", "other")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        lwd("init", str(tmp_path / "file"))
    assert {p: p.read_bytes() for p in (tmp_path / "lake").rglob("*") if p.is_file()} == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "My Arm"], "small letters"),
        (["--log", "none.mcap"], "no such log"),
        (["--log", __file__], "leave --log out"),
    ],
)
def test_wrong_input_leaves_nothing_behind(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        lwd("init", str(tmp_path / "lake"), *words)
    assert not (tmp_path / "lake").exists()
