"""Draft an embodiment file from a log, check one, list those in use."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._output import AsJson, say_json
from lwd_core.errors import UserError
from lwd_core.logs.children import apart
from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft.infer import drafted
from lwd_core.logs.embodiment import load_embodiment, load_embodiments, parse_embodiment
from lwd_core.logs.source import LogSource
from lwd_core.settings import Settings
from storage_schemas.embodiment import Embodiment

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)


@app.command()
def infer(
    log: Annotated[str, Argument(help="A log: file, folder or URL, of any format.")],
    name: Annotated[str | None, Option(help="Name of the embodiment.")] = None,
    out: Annotated[Path | None, Option(help="Write here instead of printing.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draft an embodiment file from a log's topics and schemas.

    Example: lwd embodiment infer run-17.mcap --name my-arm --out my-arm.yaml
    """
    source = LogSource(log)
    try:
        text, asked = apart(source.size, drafted, source, name)
    except FileNotFoundError as e:
        raise UserError(f"{log}: no such log; give a file, a folder or a URL") from e
    except (UnreadableLog, OSError) as e:
        raise UserError(f"{log}: {e}") from e
    parse_embodiment(text, "draft")  # a draft that its own checker refuses would help nobody
    if out is not None:
        if out.exists():
            raise UserError(f"{out}: is there already; name another file")
        out.write_text(text)
    if as_json:
        say_json({"file": None if out is None else str(out), "text": text, "asked": asked})
    elif out is None:
        typer.echo(text, nl=False)
    else:
        typer.echo(f"wrote {out}; go over it, then `lwd embodiment check {out}`")


@app.command()
def check(file: Annotated[Path, Argument(help="An embodiment YAML file.")], as_json: AsJson = False) -> None:
    """Check a file; errors name line, field and remedy.

    Example: lwd embodiment check my-arm.yaml
    """
    embodiment = load_embodiment(file)
    if as_json:
        say_json(_facts(embodiment))
    else:
        typer.echo(_line(embodiment))


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the embodiments in use (LWD_EMBODIMENTS).

    Example: lwd embodiment list
    """
    folder = Settings().embodiments
    found = load_embodiments(folder)
    if as_json:
        say_json([_facts(embodiment) for embodiment in found.values()])
        return
    if not found:
        typer.echo(f"no embodiment files in {folder}")
    for embodiment in found.values():
        typer.echo(_line(embodiment))


def _facts(embodiment: Embodiment) -> dict:
    return {
        "name": embodiment.name,
        "control_hz": embodiment.control_hz,
        "state": [asdict(dim) for dim in embodiment.state_dims],
        "action": [asdict(dim) for dim in embodiment.action_dims],
        "cameras": [camera.name for camera in embodiment.cameras],
    }


def _line(embodiment: Embodiment) -> str:
    cameras = ", ".join(c.name for c in embodiment.cameras) or "no camera"
    return (
        f"{embodiment.name}: {len(embodiment.state_dims)} state dims, {len(embodiment.action_dims)} "
        f"action dims, {embodiment.control_hz:g} Hz, {cameras}"
    )
