"""Commands of ``lwd label`` about models that label: train one, list them."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.judges.figures import Figure
from lwd_core.judges.judge import Judge, judge_of
from lwd_core.judges.kept import kept
from lwd_core.judges.train import SURE, What
from lwd_core.labels.labeller import Labeller
from lwd_core.labels.registry import Broken, chosen
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings

#: What held-out figures are called for a person.
_WORDS = {
    "auc": "AUC",
    "brier": "Brier score",
    "ece": "calibration error",
    "said": "share it is sure of",
    "right": "right of those",
    "mae": "mean distance",
    "order": "order within an episode",
}


def join(app: typer.Typer) -> None:
    """Give an application these commands."""
    for command in (train, models):
        app.command()(command)


def train(
    what: Annotated[What, typer.Argument(help="What it learns to say.")],
    name: Annotated[str, typer.Option(help="Name of its layer; default: model.success or so.")] = "",
    where: Annotated[str, typer.Option(help="SQL condition over episodes it learns from.")] = "true",
    layer: Annotated[
        str | None, typer.Option(help="Outcome layer it learns from; default: people, then robots.")
    ] = None,
    sure: Annotated[
        float, typer.Option(help="Chance below which a success model says unknown.", min=0.5, max=0.999)
    ] = SURE,
    as_json: AsJson = False,
) -> None:
    """Train a model that labels, from labelled episodes, and say how good it is on those held out.

    It is kept in the lake as the next version of its name; `lwd label run` lets it label.

    Example: lwd label train success
    """
    from lwd_core.judges.train import train as learn

    settings = Settings()
    done = learn(
        Lake.open(settings.lake),
        what,
        name=name,
        where=where,
        layer=layer,
        sure=sure,
        embodiments=load_embodiments(settings.embodiments),
        now_ns=time.time_ns(),
    )
    if as_json:
        say_json(asdict(done))
        return
    by = ", ".join(f"{n} by {who}" for who, n in done.said.items())
    typer.echo(f"{done.layer_id}: learned from {done.episodes} episodes, labelled {by}")
    typer.echo("on held-out episodes:")
    for line in _lines(done.figures):
        typer.echo(f"  {line}")
    for task in done.tasks:
        auc = task["figures"].get("auc")
        told = f", AUC {Figure(**auc)}" if auc else ""
        typer.echo(f"  {task['task']}: {task['successes']} successes, {task['failures']} failures{told}")
    for task, why in done.skipped.items():
        typer.echo(f"not learned: {task}: {why}")
    typer.echo(f"let it label: lwd label run {done.layer_id}")


def models(as_json: AsJson = False) -> None:
    """List the models that were trained to label, with their held-out figures.

    Example: lwd label models
    """
    rows: list[dict[str, Any]] = []
    for one in kept(Lake.open(Settings().lake)):
        about = one.about
        figures = {name: Figure(**figure) for name, figure in about["figures"].items()}
        row = {"layer_id": one.layer_id, "what": about["what"], "tasks": len(about["heads"])}
        row |= {"episodes": len(about["learned_from"])}
        row |= {
            name: asdict(figures[name]) if as_json else str(figures[name])
            for name in ("auc", "brier", "ece", "mae")
            if name in figures
        }
        rows.append(dict.fromkeys(("auc", "ece")) | row)
    say_rows(rows, ("layer_id", "what", "tasks", "episodes", "auc", "ece"), as_json)


def labellers_of(lake: Lake, what: list[str]) -> tuple[list[Labeller], list[Broken]]:
    """What these names mean: models of the lake, and what `chosen` finds. Raises `UserError`."""
    trained: list[Judge] = []
    others: list[str] = []
    for name in what:
        judge = judge_of(lake, name)
        if judge is None:
            others.append(name)
        else:
            trained.append(judge)
    if trained and not others:
        return list(trained), []
    found, broken = chosen(others)
    return [*trained, *found], broken


def _lines(figures: Mapping[str, Figure]) -> list[str]:
    return [f"{_WORDS[name]}: {figure}" for name, figure in figures.items()]
