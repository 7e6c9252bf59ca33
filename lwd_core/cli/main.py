"""The root of ``lwd``: finds the commands, loads one when it is called, turns bad input into one line.

Every module of this package except this one is a command named like the module. It offers
``app`` (a typer application) or a function of its own name; the first line of its docstring
is its help. Help reads those lines without importing anything, so it answers at once.
"""

import ast
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from lwd_core.errors import UserError, did_you_mean

COMMANDS = Path(__file__).parent
EXIT_FOUND = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
#: as a shell reports a process that SIGTERM ended
EXIT_STOPPED = 143


def command_modules() -> list[str]:
    """Names of the command modules, sorted."""
    return sorted(p.stem for p in COMMANDS.glob("[a-z]*.py") if p.stem != "main")


def summary(module: str) -> str:
    """First line of a command module's docstring, read without importing it."""
    text = ast.get_docstring(ast.parse((COMMANDS / f"{module}.py").read_text())) or ""
    return text.partition("\n")[0]


def load_command(module: str) -> click.Command:
    """Import one command."""
    loaded = import_module(f"lwd_core.cli.{module}")
    app = getattr(loaded, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name=module)(getattr(loaded, module))
    command = typer.main.get_command(app)
    command.name = command_name(module)
    return command


def command_name(module: str) -> str:
    return module.replace("_", "-")


class LazyGroup(TyperGroup):
    """A group that lists commands by their docstrings and imports only the one it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command_name(m) for m in command_modules()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = cmd_name.replace("-", "_")
        if module not in command_modules():
            return None
        return click.Command(cmd_name, help=summary(module))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, stub, rest = super().resolve_command(ctx, args)
        except click.UsageError as error:  # its own suggestions know only what is loaded
            near = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(error.message.rstrip(".") + near, ctx) from None
        if stub is None or name is None:
            return name, stub, rest
        command = load_command(name.replace("-", "_"))
        if hasattr(click.exceptions, "NoSuchCommand") and isinstance(command, TyperGroup):
            command.suggest_commands = False  # click says it, since 8.4
        return name, command, rest


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lwd {version('lwd')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version.")
    ] = False,
) -> None:
    """The platform on which a robot fleet learns while it is deployed.

    Places come from LWD_HOME (default ./lwd-data) and other LWD_* variables.

    Exit codes: 0 done, 1 a check found something wrong, 2 wrong input, 130 interrupted, 143 stopped
    with its state saved (training).

    Example: lwd init my-lake
    """


def complain(message: str) -> None:
    """One red line on standard error; plain where standard error is no terminal."""
    typer.secho("error: " + " ".join(message.split()), fg="red", err=True)


def main() -> None:
    """Run ``lwd``. Exit codes: 0 done, 1 a check found something, 2 wrong input, 130 interrupted."""
    try:
        app(prog_name="lwd")
    except UserError as error:
        complain(str(error))
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # a reader such as `head` has left; without this the interpreter complains once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
