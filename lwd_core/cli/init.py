"""Begin a lake of your own: its folders, its tables, an embodiment file to go over."""

import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._output import AsJson, say_json
from lwd_core.errors import UserError
from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.embodiment import parse_embodiment

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def init(
    folder: Annotated[str, typer.Argument(help="New or empty folder that becomes LWD_HOME.")],
    name: Annotated[str, typer.Option(help="Name of your robot type.")] = "my-robot",
    log: Annotated[
        str | None, typer.Option(help="A log of it: the embodiment is drafted from its topics.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a lake: folders, empty tables, and an embodiment file to go over. Overwrites nothing.

    Example: lwd init my-lake --name my-arm --log run-17.mcap
    """
    home = Path(folder)
    if "://" in folder:
        raise UserError(f"{folder}: init makes a folder; a bucket needs none, set LWD_LAKE and ingest")
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise UserError(f"{folder}: is there already and not empty; name a new folder")
    if not NAME.fullmatch(name):
        raise UserError(f"--name {name}: use small letters, digits, - and _")
    text, asked = _drafted(log, name) if log else (_template(name), [])
    embodiment = home / "embodiments" / f"{name}.yaml"
    try:
        for place in (home / "landing", embodiment.parent):
            place.mkdir(parents=True, exist_ok=True)
        with embodiment.open("x") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; name a folder that can be written") from error
    from lwd_core.lake.store import Lake

    Lake.open(str(home / "lake"), create=True)
    steps = _next_steps(home, embodiment, log)
    if as_json:
        said = {"home": str(home.resolve()), "embodiment": str(embodiment)}
        say_json(said | {"asked": asked, "next": [s for s, _ in steps]})
        return
    typer.echo(f"made {home}: landing zone, lake, {embodiment.relative_to(home)}")
    if asked:
        typer.echo("\nto go over in the draft:")
    for question in asked:
        typer.echo(f"  - {question}")
    typer.echo("\nnext:")
    width = max(len(step) for step, _ in steps)
    for step, why in steps:
        typer.echo(f"  {step:{width}}  # {why}")


def _template(name: str) -> str:
    text = (resources.files("lwd_core.cli") / "embodiment_template.yaml").read_text()
    return text.format(name=name)


def _drafted(log: str, name: str) -> tuple[str, list[str]]:
    """An embodiment file from a log, and what it leaves to a person."""
    from lwd_core.logs.children import apart
    from lwd_core.logs.draft.infer import drafted
    from lwd_core.logs.source import LogSource

    try:
        source = LogSource(log)
        text, asked = apart(source.size, drafted, source, name)
    except FileNotFoundError as error:
        raise UserError(f"{log}: no such log; give a file, a folder or a URL") from error
    except (UnreadableLog, OSError) as error:
        raise UserError(f"{log}: {error}; leave --log out to begin with a template") from error
    parse_embodiment(text, "draft")
    return text, asked


def _next_steps(home: Path, embodiment: Path, log: str | None) -> list[tuple[str, str]]:
    return [
        (f"export LWD_HOME={shlex.quote(str(home))}", "every lwd command works there"),
        (f"$EDITOR {shlex.quote(str(embodiment))}", "names, units, limits, topics"),
        (f"lwd embodiment check {shlex.quote(str(embodiment))}", "line, field and remedy of what is wrong"),
        (f"lwd ingest {shlex.quote(log or 'LOG')}", "take logs in; bad ones are kept, with a reason"),
        ("lwd episode list", "what is in the lake"),
        ("lwd doctor", "whether all is well"),
    ]
