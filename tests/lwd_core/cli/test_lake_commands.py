"""The lake from the command line, from a first ingest to an erasure."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from tests.lwd_core.lake.fake_logs import read_fake, write_log


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LWD_HOME", str(home))
    monkeypatch.setattr("lwd_core.cli.ingest.take_in", partial(ingest, reader=read_fake))
    Workcells().install(str(home / "embodiments"))
    write_log(home / "landing", "good", episodes=2, frames=2)
    write_log(home / "landing", "bad").write_bytes(b"?")
    return home


def lwd(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_from_ingest_to_erasure(home: Path) -> None:
    out = lwd("ingest")
    assert "accepted" in out
    assert "no log of the tests" in out
    assert "quarantined" in lwd("logs", "--state", "quarantined")
    assert "2026-01-01" in lwd("logs", "reconcile")
    assert "no log of the tests" in lwd("logs", "retry")
    assert "episodes" in lwd("lake", "stats")
    lwd("lake", "compact")
    assert "CREATE OR REPLACE VIEW" in lwd("lake", "shell-sql")
    found = json.loads(lwd("sql", "SELECT episode_id FROM episodes ORDER BY 1", "--format", "json"))
    first = found[0]["episode_id"]
    plan = lwd("erase", first, "--dry-run")
    assert "raw log left" in plan
    assert "--whole-log" in plan
    assert "raw log deleted" in lwd("erase", first, "--dry-run", "--whole-log")
    assert len(json.loads(lwd("sql", "SELECT 1 FROM episodes", "--format", "json"))) == 2
    assert "absent: no file" in lwd("erase", first, "--yes")
    assert len(json.loads(lwd("sql", "SELECT 1 FROM episodes", "--format", "json"))) == 1
    assert list((home / "landing").rglob("good.json")), "another episode is in it"
    again = lwd("erase", first, "--yes")
    assert "erased before" in again
    assert "absent: no file" in again
    assert "absent: no file" in lwd("erase", found[1]["episode_id"], "--yes")
    assert not list((home / "landing").rglob("good.json"))
    assert "never in this lake" in lwd("erase", "0" * 32, "--yes")


def test_an_original_elsewhere_is_named_and_left(home: Path, tmp_path: Path) -> None:
    mine = write_log(tmp_path / "mine", "drive", seed=5)
    lwd("ingest", str(mine))
    rows = json.loads(lwd("sql", "SELECT episode_id FROM episodes", "--format", "json"))
    out = lwd("erase", rows[0]["episode_id"], "--yes")
    assert f"raw log left        {mine}" in out
    assert "not ours to delete  1 raw logs" in out
    assert "1 originals not ours to delete named above" in out
    assert mine.exists()
    with pytest.raises(UserError, match="no raw log of these episodes"):
        lwd("erase", rows[0]["episode_id"], "--yes", "--also-delete", str(tmp_path))


def test_what_still_holds_it_is_named_and_fails(home: Path) -> None:
    lwd("ingest")
    first = json.loads(lwd("sql", "SELECT episode_id FROM episodes", "--format", "json"))[0]["episode_id"]
    copy = home / "checkpoints" / "notes.txt"
    copy.parent.mkdir()
    copy.write_text(f"look at {first}")
    result = CliRunner().invoke(app, ["erase", first, "--yes"])
    assert result.exit_code == 1
    assert f"still found in      {copy}" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sql", "SELECT 1"), "no lake there"),
        (("ingest", "/nowhere"), "no such file or folder"),
        (("erase",), "no lake there"),
        (("lake", "stats"), "no lake there"),
    ],
)
def test_wrong_input_is_one_line(home: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        lwd(*words)


def test_an_ingest_without_embodiments_says_where_they_go(home: Path) -> None:
    (home / "embodiments" / "sawyer.yaml").unlink()
    with pytest.raises(UserError, match="no embodiment file there"):
        lwd("ingest")


def test_what_is_still_found_is_found_again_until_it_is_gone(home: Path, tmp_path: Path) -> None:
    """The rows that say what to look for went with the first erasure."""
    lwd("ingest")
    steps = "SELECT state FROM steps JOIN episodes USING (episode_id) WHERE index_in_log = 0"
    states = [row["state"] for row in json.loads(lwd("sql", steps, "--format", "json"))]
    copy = home / "landing" / "lab" / "copy.bin"
    copy.write_bytes(np.array(states, "<f8").tobytes())
    first, other = json.loads(
        lwd("sql", "SELECT episode_id AS e FROM episodes ORDER BY index_in_log", "--format", "json")
    )
    for _ in range(2):
        result = CliRunner().invoke(app, ["erase", first["e"], "--yes"])
        assert (result.exit_code, f"still found in      {copy}" in result.stderr) == (1, True)
    assert "absent: no file" in lwd("erase", other["e"], "--yes")
    copy.unlink()
    assert "absent: no file" in lwd("erase", first["e"], "--yes")
    assert not list((home / "lake" / "erasures").glob("*.sought.json"))
