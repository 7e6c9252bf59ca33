"""Look at episodes: list, show."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LISTED = ("episode_id", "day", "site", "robot_id", "task", "source", "outcome", "steps", "interventions")


@app.command("list")
def list_(
    where: Annotated[str, typer.Option(help="SQL condition over episodes.")] = "true",
    limit: Annotated[int, typer.Option(help="Most rows shown.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List episodes, newest first.

    Example: lwd episode list --where "outcome = 'failure' AND interventions = 0"
    """
    rows = Lake.open(Settings().lake).read(
        "episodes", columns=LISTED, where=f"({where}) ORDER BY start_ns DESC LIMIT {limit}"
    )
    if as_json:
        typer.echo(json.dumps(rows.to_pylist()))
        return
    table = Table(*LISTED)
    for row in rows.to_pylist():
        table.add_row(row["episode_id"][:12], *(str(row[name]) for name in LISTED[1:]))
    Console().print(table)


@app.command()
def show(
    episode: Annotated[str, typer.Argument(help="Episode id, or the beginning of one.")],
    page: Annotated[Path | None, typer.Option(help="Write plots and frames as one HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one episode: facts, segments, labels; with --page also plots and frames.

    Example: lwd episode show 3f2a --page episode.html
    """
    from lwd_core.reports.episode import episode_page, episode_view

    settings = Settings()
    lake = Lake.open(settings.lake)
    view = episode_view(lake, episode)
    if as_json:
        said = {"facts": view.facts, "segments": view.segments, "labels": view.labels, "log": view.log_uri}
        typer.echo(json.dumps(said))
    else:
        _print(view.facts, view.segments, view.labels, view.log_uri)
    if page:
        embodiments = load_embodiments(settings.embodiments)
        page.write_text(episode_page(lake, view, embodiments.get(view.facts["embodiment"])))
        typer.echo(f"page: {page}", err=as_json)


def _print(facts: dict, segments: list[dict], labels: list[dict], log_uri: str | None) -> None:
    console = Console()
    table = Table("fact", "value", show_header=False)
    for name, value in facts.items():
        table.add_row(name, "" if value is None else str(value))
    table.add_row("raw log", f"{log_uri} messages {facts['first_message']}–{facts['last_message']}")
    console.print(table)
    table = Table("steps", "kind", "who", "reason", title="segments")
    for s in segments:
        table.add_row(f"{s['first_step']}–{s['last_step']}", s["kind"], s["who"] or "", s["reason"] or "")
    console.print(table)
    table = Table("layer", "check", "step", "value", "says", title="labels")
    for row in labels:
        value = "" if row["value"] is None else f"{row['value']:.4g}"
        step = "" if row["step"] is None else str(row["step"])
        table.add_row(row["layer_id"], row["check"] or "", step, value, row["text"] or row["detail"] or "")
    console.print(table)
