"""Tables for people and for pipes: readable on a narrow screen, and line by line in a pipe."""

import re

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from lwd_core.cli import _output
from lwd_core.cli._output import say_table, table_text

COLUMNS = ("episode_id", "task", "outcome", "steps", "note")
ROWS = [["e0f90b83303d", "drawer-open", "failure", 20, None], ["2ebd", "push", Text("success"), 1234, "a\nb"]]


def said(monkeypatch: pytest.MonkeyPatch, width: int | None) -> str:
    """What a terminal so wide shows; None: a pipe."""
    app = typer.Typer()

    @app.command()
    def show() -> None:
        say_table(COLUMNS, ROWS, title="seen")

    if width is not None:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("COLUMNS", str(width))
    found = CliRunner().invoke(app, []).stdout
    return re.sub(r"\x1b\[[\d;]*m", "", found)


def test_a_pipe_gets_a_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, None) == (
        "seen\n"
        "episode_id    task         outcome  steps  note\n"
        "e0f90b83303d  drawer-open  failure     20\n"
        "2ebd          push         success   1234  a b\n"
    )


def test_a_narrow_screen_gets_a_paragraph_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = said(monkeypatch, 44)
    assert narrow == (
        "seen\n"
        "e0f90b83303d\n"
        "  task drawer-open, outcome failure, steps\n"
        "  20\n"
        "2ebd\n"
        "  task push, outcome success, steps 1234,\n"
        "  note a b\n"
    )
    assert max(map(len, narrow.splitlines())) <= 44


def test_a_wide_screen_gets_a_table_and_one_long_column_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "─" in said(monkeypatch, 100)
    wide = [["a", "x" * 300]]
    assert _output._fits(("id", "why"), wide, 60)
    assert not _output._fits(("id", "why", "what"), [["i" * 40, "x" * 40, "y" * 40]], 80)


def test_what_is_written_is_what_is_shown() -> None:
    assert table_text(("a", "b"), [[None, 1.5]], null="∅") == "a    b\n∅  1.5\n"
    assert table_text(("a",), []) == "a\n"
