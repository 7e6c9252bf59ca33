"""lwd train: a configuration by itself is a run; following needs a production policy to start from."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.json"], "nowhere.json: cannot be read"),
        (["run", "nowhere.json"], "nowhere.json: cannot be read"),
        (["nowhere.json", "--report", "nosuch"], "nosuch: no reporter of that name"),
        (["online", "--follow"], "no lake there; `lwd ingest` makes one"),
        (["online", "--config", "nowhere.json"], "nowhere.json: cannot be read"),
    ],
)
def test_wrong_input_is_named(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        CliRunner().invoke(app, ["train", *arguments], catch_exceptions=False)


def test_help_shows_both_ways() -> None:
    said = CliRunner().invoke(app, ["train", "--help"]).output
    assert "run" in said
    assert "online" in said
    assert "--follow" in CliRunner().invoke(app, ["train", "online", "--help"]).output
