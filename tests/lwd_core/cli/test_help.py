"""Every command: help with an example that parses, JSON where it has an answer, completion."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lwd_core.cli.main import commands, load_command


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield name, command
        for child, inner in command.commands.items():
            yield from leaves(inner, f"{name} {child}")
    else:
        yield name, command


COMMANDS = dict(pair for name in commands() for pair in leaves(load_command(name), name))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_of_the_command_itself(name: str) -> None:
    text = " ".join((COMMANDS[name].help or "").split())
    example = re.search(r"Example: (lwd .+?)$", text)
    assert example, f"lwd {name}: its help shows no example"
    words = shlex.split(example[1].split(" > ")[0])[1:]
    assert words[: len(name.split())] == name.split()
    options = {o for p in COMMANDS[name].params for o in (*p.opts, *p.secondary_opts)}
    used = {w.split("=")[0] for w in words if w.startswith("-")}
    assert used <= options, f"lwd {name}: its example uses {used - options}"


#: what goes on until it is ended, telling a person what it does
STAYS = {"demo", "serve", "studio", "ui"}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - STAYS))
def test_every_answer_can_be_json(name: str) -> None:
    assert "--json" in {o for p in COMMANDS[name].params for o in p.opts}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lwd epi", {"episode"}),
        ("lwd episode ", {"link", "list", "show", "view"}),
        ("lwd sql --for", {"--format"}),
        ("lwd sql --format ", {"table", "csv", "json", "parquet"}),
    ],
)
def test_the_shell_completes_commands_options_and_choices(words: str, expected: set[str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lwd")],
        env=os.environ
        | {"_LWD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected <= set(done.stdout.split()), done.stdout + done.stderr
