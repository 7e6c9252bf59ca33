"""Look at episodes: list, show, view in Rerun."""

import socket
import tempfile
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_core.cli._ask import MOST
from lwd_core.cli._output import AsJson, cell, say_json, say_rows, say_table
from lwd_core.errors import UserError
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Verdict

app = typer.Typer(no_args_is_help=True, help=__doc__)
EpisodeId = Annotated[str, typer.Argument(help="Episode id, or the beginning of one.")]
LISTED = ("episode_id", "day", "site", "robot_id", "task", "source", "outcome", "steps", "interventions")


@app.command("list")
def list_(
    where: Annotated[str, typer.Option(help="SQL condition over episodes.")] = "true",
    limit: Annotated[int, typer.Option(help="Most rows shown.", min=1, max=MOST)] = 20,
    as_json: AsJson = False,
) -> None:
    """List episodes, newest first.

    Example: lwd episode list --where "outcome = 'failure' AND interventions = 0"
    """
    rows = Lake.open(Settings().lake).read(
        "episodes", columns=LISTED, where=f"{condition(where)} ORDER BY start_ns DESC LIMIT {limit}"
    )
    shown = rows.to_pylist()
    if not as_json:
        shown = [row | {"episode_id": row["episode_id"][:12]} for row in shown]
    say_rows(shown, LISTED, as_json)


@app.command()
def show(
    episode: EpisodeId,
    page: Annotated[Path | None, typer.Option(help="Write plots and frames as one HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one episode: facts, segments, labels; with --page also plots and frames.

    Example: lwd episode show 3f2a --page episode.html
    """
    settings = Settings()
    lake = Lake.open(settings.lake)
    view = lake.episode(episode)
    segments, labels = view.segments.to_pylist(), view.labels.to_pylist()
    if as_json:
        say_json({"facts": view.facts, "segments": segments, "labels": labels, "log": view.log_uri})
    else:
        _print(view.facts, segments, labels, view.log_uri)
    if page:
        from lwd_core.reports.episode_page import episode_page

        embodiments = load_embodiments(settings.embodiments)
        page.write_text(episode_page(lake, view, embodiments.get(view.facts["embodiment"])))
        typer.echo(f"page: {page}", err=as_json)


@app.command()
def link(
    episode: EpisodeId,
    at: Annotated[float, typer.Option(help="Seconds from the episode's start.")] = 0.0,
    url: Annotated[str | None, typer.Option(help="Where its raw log is served, http(s).")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what opens an episode's raw log at a moment: a link for Foxglove, a command for Rerun.

    Example: lwd episode link 3f2a --at 12.5 --url http://127.0.0.1:8000/run-17.mcap
    """
    from lwd_core.logs.deep_links import deep_links
    from lwd_core.storage.relative import resolve

    settings = Settings()
    view = Lake.open(settings.lake).episode(episode)
    if view.log_uri is None:
        raise UserError(f"episode {episode}: its raw log is no longer there")
    log = resolve(settings.landing, view.log_uri)
    links = asdict(deep_links(log, view.facts["start_ns"] + round(at * 1e9), url=url))
    if as_json:
        say_json({"log": log, **links})
        return
    for name, opens in {"log": log, **links}.items():
        if opens:
            typer.echo(f"{name:8}  {opens}")


@app.command()
def view(
    episode: EpisodeId,
    save: Annotated[Path | None, typer.Option(help="Write a .rrd file instead of opening a viewer.")] = None,
    port: Annotated[int, typer.Option(help="Port of the page on 127.0.0.1; 0: a free one.", min=0)] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    as_json: AsJson = False,
) -> None:
    """View one episode in Rerun: frames, state, action, actor, reward and value over time.

    A server on the loopback address shows it in a browser until Ctrl-C; with --save it is a file for
    `rerun FILE`.

    Example: lwd episode view 3f2a --save episode.rrd
    """
    from lwd_core.reports.viewer import serve, write_recording

    settings = Settings()
    lake = Lake.open(settings.lake)
    seen = lake.episode(episode)
    embodiment = load_embodiments(settings.embodiments).get(seen.facts["embodiment"])
    if save:
        write_recording(lake.place, seen, embodiment, save)
        if as_json:
            say_json({"file": str(save)})
        else:
            typer.echo(f"wrote {save}")
        return
    with tempfile.TemporaryDirectory(prefix="lwd-view-") as folder:
        file = Path(folder, f"{seen.facts['episode_id'][:12]}.rrd")
        write_recording(lake.place, seen, embodiment, file)
        with serve(file, _free_port(), port or _free_port()) as (server, url):
            if as_json:
                say_json({"url": url})
            else:
                typer.echo(f"{url}  (Ctrl-C ends it)")
            if browser:
                webbrowser.open(url)
            server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _summed_up(labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Labels of episode and segments as they are; of steps a row a layer and check, with their range."""
    rows = [row for row in labels if row["step"] is None]
    rows += [
        row | {"step": f"{row['step']}–{row['last_step']}"} for row in labels if row["last_step"] is not None
    ]
    layers: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for row in labels:
        if row["step"] is not None and row["last_step"] is None:
            layers.setdefault((row["layer_id"], row["check"]), []).append(row)
    for (layer, check), steps in layers.items():
        values = [row["value"] for row in steps if row["value"] is not None]
        said = f"{min(values):.4g} to {max(values):.4g}" if values else ""
        rows.append(
            {"layer_id": layer, "check": check, "value": None, "text": said, "detail": None}
            | {"step": f"{steps[0]['step']}–{steps[-1]['step']}"}
        )
    return rows


def _print(
    facts: dict[str, Any], segments: list[dict[str, Any]], labels: list[dict[str, Any]], log_uri: str | None
) -> None:
    where = f"{log_uri} messages {facts['first_message']}–{facts['last_message']}"
    say_table(("fact", "value"), [*((k, cell(v)) for k, v in facts.items()), ("raw log", where)])
    say_table(
        ("steps", "kind", "who", "reason"),
        [(f"{s['first_step']}–{s['last_step']}", s["kind"], s["who"], s["reason"]) for s in segments],
        title="segments",
    )
    say_table(
        ("layer", "check", "step", "value", "says"),
        [
            (row["layer_id"], row["check"], row["step"], row["value"], row["text"] or row["detail"])
            for row in _summed_up(labels)
        ],
        title="labels",
    )
    for row in labels:
        if row["text"] == Verdict.FAIL and row["detail"]:
            typer.echo(f"{row['check']}: {row['detail']}")
