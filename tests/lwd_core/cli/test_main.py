"""The root command: quick help, one line for wrong input, nothing imported that isn't run."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from lwd_core.cli import main
from lwd_core.errors import UserError


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_every_command_and_imports_none() -> None:
    done = run(
        "import sys; from lwd_core.cli import main; sys.argv = ['lwd', '--help']\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'duckdb', 'deltalake', 'pyarrow', 'mujoco'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    assert "heavy: []" in done.stdout
    for name in main.commands():
        assert name in done.stdout


def test_every_command_says_what_it_does_and_loads() -> None:
    assert {"demo", "ui"} <= set(main.commands())
    for name in main.commands():
        assert main.summary(name), f"{name}: its docstring's first line is its help"
        assert isinstance(main.load_command(name), click.Command)


def test_wrong_input_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bad() -> None:
        raise UserError("robots.yaml, line 3:\n  rate must be positive")

    monkeypatch.setattr(main, "own_commands", lambda: {"bad": Path("bad.py")})
    monkeypatch.setattr(main, "summary", lambda name: "Fail.")
    monkeypatch.setattr(main, "load_command", lambda name: click.Command("bad", callback=bad))
    monkeypatch.setattr(sys, "argv", ["lwd", "bad"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: robots.yaml, line 3: rate must be positive\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"]])
def test_unknown_words_exit_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lwd"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_interrupted_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def slow() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "own_commands", lambda: {"slow": Path("slow.py")})
    monkeypatch.setattr(main, "summary", lambda name: "Wait.")
    monkeypatch.setattr(main, "load_command", lambda name: click.Command("slow", callback=slow))
    monkeypatch.setattr(sys, "argv", ["lwd", "slow"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_no_command_loads_what_it_may_not_use() -> None:
    """A command answers in the time its own imports take; each of these costs half a second or more."""
    heavy = ("torch", "scipy", "transformers", "dagster", "matplotlib", "pandas", "mujoco")
    modules = ", ".join(f"lwd_core.cli.{path.stem}" for path in main.own_commands().values())
    done = run(f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr
