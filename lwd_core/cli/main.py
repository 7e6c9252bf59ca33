"""The root of ``lwd``: finds the commands, loads one when it is called, turns bad input into one line.

Every module of this package except this one is a command named like the module. It offers
``app`` (a typer application) or a function of its own name; the first line of its docstring
is its help. Help reads those lines without importing anything, so it answers at once.
Other packages add commands by entry points of the group ``lwd.commands``, each a typer application; the
platform's `demo` and `ui` come so too, since nothing here knows the orchestrator.
"""

import ast
import gc
import os
import sys
import tokenize
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from lwd_core.errors import UserError, did_you_mean
from lwd_core.extras import missing_extra
from lwd_core.plugins import Door

COMMANDS = Path(__file__).parent
EXIT_FOUND = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
#: as a shell reports a process that SIGTERM ended
EXIT_STOPPED = 143


@cache
def own_commands() -> dict[str, Path]:
    """The modules of this package that are commands, by the command's name."""
    return {p.stem.replace("_", "-"): p for p in COMMANDS.glob("[a-z]*.py") if p.stem != "main"}


#: Commands of other packages; the door refuses the name of one of this package.
OTHERS: Door[typer.Typer] = Door(
    "lwd.commands",
    {name: f"lwd_core.cli.{path.stem}:app" for name, path in own_commands().items()},
    needs=("registered_commands",),
    kind="command",
)


def commands() -> list[str]:
    """Names of all commands, sorted."""
    return sorted(OTHERS.names())


def summary(name: str) -> str:
    """First line of the docstring of a command's module, read without importing or parsing it."""
    source = own_commands().get(name) or _source(OTHERS.address(name) or "")
    try:
        return _first_line(source) if source else ""
    except (OSError, SyntaxError, ValueError, TypeError, tokenize.TokenError):  # said when it is called
        return ""


def _first_line(source: Path) -> str:
    with tokenize.open(source) as text:
        for token in tokenize.generate_tokens(text.readline):
            if token.type == tokenize.STRING:
                return ast.literal_eval(token.string).strip().partition("\n")[0]
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                break
    return ""


def load_command(name: str) -> click.Command:
    """Import one command. Raises UserError where it can't be, or an extra of ours is missing."""
    path = own_commands().get(name)
    app = OTHERS.get(name, addresses=False) if path is None else _own_app(path.stem)
    command = typer.main.get_command(app)
    command.name = name
    return command


def _own_app(module: str) -> typer.Typer:
    loaded = import_module(f"lwd_core.cli.{module}")
    app = getattr(loaded, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name=module.replace("_", "-"))(getattr(loaded, module))
    return app


def _source(address: str) -> Path | None:
    """The file of an address's module, found without importing its package; None where there is none."""
    package, *inner = address.partition(":")[0].split(".")
    try:
        spec = find_spec(package)
        for part in inner:
            within = spec.submodule_search_locations if spec else None
            package += f".{part}"
            spec = PathFinder.find_spec(package, within) if within else None
    except (ImportError, ValueError):  # its package is gone, or the address is none
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


class LazyGroup(TyperGroup):
    """A group that lists commands by their docstrings and imports only the one it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return commands()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in own_commands() and OTHERS.address(cmd_name) is None:
            return None
        return click.Command(cmd_name, help=summary(cmd_name))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as end:
            # a question that Ctrl-C answers is an Abort, as one that nobody is there to answer
            if isinstance(end, click.Abort) and not isinstance(end.__context__, KeyboardInterrupt):
                raise
            complain("interrupted")
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from end

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
        command = load_command(name)
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

    Exit codes: 0 done, 1 a check found something wrong, 2 wrong input, 130 interrupted (Ctrl-C), 143 stopped
    by SIGTERM; training and fleets save their state before.

    Example: lwd init my-lake
    """


def complain(message: str) -> None:
    """One red line on standard error; plain where standard error is no terminal."""
    typer.secho("error: " + " ".join(message.split()), fg="red", err=True)


def main(app: typer.Typer = app, prog_name: str = "lwd") -> None:
    """Run ``lwd``. Exit codes: 0 done, 1 a check found something, 2 wrong input, 130 interrupted."""
    # Imports make a hundred thousand objects that stay: looking for garbage among them every 700 is a
    # twentieth of a short command's time.
    gc.set_threshold(50_000)
    try:
        app(prog_name=prog_name)
    except UserError as error:
        complain(str(error))
        sys.exit(EXIT_USER_ERROR)
    except ImportError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        complain(str(missing))
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
