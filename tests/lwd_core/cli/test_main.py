"""The root command: quick help, one line for wrong input, nothing imported that isn't run."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from lwd_core.cli import main
from lwd_core.cli._output import AsJson, say_json
from lwd_core.errors import UserError
from lwd_core.plugins import PluginError
from tests.packages import Install


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False
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


def test_the_help_is_the_first_line_of_a_docstring(tmp_path: Path) -> None:
    for text, line in (
        ('#!/usr/bin/python\n\n"""Do it.\n\nAt length."""\n', "Do it."),
        ("'''\nDo it.\n'''\nraise ValueError\n", "Do it."),
        ("import os\n\nNAME = 'no help'\n", ""),
        ("", ""),
    ):
        (tmp_path / "command.py").write_text(text)
        assert main._first_line(tmp_path / "command.py") == line


@pytest.mark.parametrize("name", ["sql", "ui"])
def test_another_package_takes_the_place_of_no_command(tmp_path: Path, name: str) -> None:
    about = tmp_path / "acme-1.2.dist-info"
    about.mkdir()
    (tmp_path / "acme.py").write_text('"""Mine."""\nimport typer\nprint("taken")\napp = typer.Typer()\n')
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(f"[lwd.commands]\n{name} = acme:app\n")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from lwd_core.cli import main; main.main()"

    def lwd(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", start, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)

    listed, said = lwd("--help"), lwd(name, "--help")
    assert (listed.returncode, said.returncode) == (0, 0)
    assert not {"taken", "Mine"} & set((listed.stdout + said.stdout).replace(".", " ").split())


@pytest.mark.parametrize("code", ["raise RuntimeError('gone')", '"""never closed', "x = ("])
def test_help_is_there_whatever_a_package_is_like(install: Install, code: str) -> None:
    install("acme", code, commands={"hey": "acme.inner:app", "ho": "acme:app"})
    assert main.summary("hey") == main.summary("ho") == ""
    assert {"hey", "ho", "sql"} <= set(main.commands())
    with pytest.raises(PluginError, match=r"ho \(acme:app of acme 1.2\) can't be imported"):
        main.load_command("ho")


def test_help_imports_no_package_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_inner").mkdir()
    (tmp_path / "acme_inner" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "acme_inner" / "cli.py").write_text('"""Say hey."""')
    monkeypatch.syspath_prepend(str(tmp_path))
    source = main._source("acme_inner.cli:app")
    assert source
    assert main._first_line(source) == "Say hey."


def test_with_json_nothing_but_the_document_is_on_stdout() -> None:
    noisy = typer.Typer()

    @noisy.command()
    def say(as_json: AsJson = False) -> None:
        print("a plug-in's words")
        say_json([1])

    said = CliRunner().invoke(noisy, ["--json"])
    assert (said.stdout, said.stderr) == ("[1]\n", "a plug-in's words\n")


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


@pytest.mark.parametrize("arguments", ["episod", "episode lst", "episode list --limt 3"])
def test_a_slip_of_the_pen_is_answered_with_the_word_once(arguments: str) -> None:
    said = CliRunner().invoke(main.app, arguments.split()).output
    assert said.lower().count("did you mean") == 1
    assert "episode" in said or "list" in said


def test_a_question_answered_by_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(answer: type[BaseException]) -> int:
        def answered(_prompt: str) -> str:
            raise answer

        monkeypatch.setattr("click.termui.visible_prompt_func", answered)
        monkeypatch.setattr(main, "own_commands", lambda: {"ask": Path("ask.py")})
        monkeypatch.setattr(main, "summary", lambda name: "Ask.")
        command = click.Command("ask", callback=lambda: typer.confirm("Sure?", abort=True))
        monkeypatch.setattr(main, "load_command", lambda name: command)
        monkeypatch.setattr(sys, "argv", ["lwd", "ask"])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    assert ask(KeyboardInterrupt) == 130
    assert ask(EOFError) == 1


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


#: No command loads these before it knows that it needs them: half a second or more each, or an extra.
NEVER = {
    "torch",
    "scipy",
    "transformers",
    "dagster",
    "matplotlib",
    "pandas",
    "polars",
    "mujoco",
    "s3fs",
    "rerun",
}
#: What reads logs, and what reads tables; commands that have to do with neither.
READERS, TABLES = {"h5py", "rosbags", "av", "mcap"}, {"duckdb", "deltalake"}
READ_LOGS = {"embodiment", "erase", "export"}  # an export decodes video
NO_TABLES = {"demo", "embodiment", "fleet", "init", "keys", "robot", "run", "train", "ui"}


def test_no_command_loads_what_it_does_not_use() -> None:
    """A command answers in the time its own imports take."""
    done = run(
        "import json, os, sys, fsspec, numpy, pyarrow.parquet, pydantic\n"  # what nearly all of them load
        "from lwd_core.cli.main import commands, load_command\n"
        "for name in commands():\n"
        "    if os.fork() == 0:\n"
        "        load_command(name)\n"
        "        print(json.dumps([name, sorted(m for m in sys.modules if '.' not in m)]), flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    loaded = {name: set(modules) for name, modules in map(json.loads, done.stdout.splitlines())}
    assert set(loaded) == set(main.commands()), done.stderr
    for name, modules in loaded.items():
        refused = (
            NEVER | (READERS if name not in READ_LOGS else set()) | (TABLES if name in NO_TABLES else set())
        )
        assert modules & refused == set(), name
