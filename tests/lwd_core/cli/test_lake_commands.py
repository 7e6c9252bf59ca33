"""The lake from the command line, from a first ingest to an erasure."""

import json
from functools import partial
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.lake.ingest import ingest
from tests.lwd_core.lake.fake_logs import read_fake, write_log


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LWD_HOME", str(home))
    monkeypatch.setattr("lwd_core.cli.ingest.take_in", partial(ingest, reader=read_fake))
    folder = home / "embodiments"
    folder.mkdir(parents=True)
    source = resources.files("lwd_core.fleet") / "embodiments" / "sawyer.yaml"
    (folder / "sawyer.yaml").write_text(source.read_text())
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
    assert "raw log deleted" in lwd("erase", first, "--dry-run")
    assert len(json.loads(lwd("sql", "SELECT 1 FROM episodes", "--format", "json"))) == 2
    assert "absent: no file" in lwd("erase", first, "--yes")
    assert len(json.loads(lwd("sql", "SELECT 1 FROM episodes", "--format", "json"))) == 1
    assert not list((home / "landing").rglob("good.json"))


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
