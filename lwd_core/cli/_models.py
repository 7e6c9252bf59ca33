"""Commands of ``lwd label`` about models that label: train one, list them."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from lwd_core.cli._ask import MOST, Argument, Option
from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.errors import UserError
from lwd_core.judges.figures import Figure
from lwd_core.judges.judge import Judge, judge_of
from lwd_core.judges.kept import kept
from lwd_core.judges.pictures import FrameView
from lwd_core.judges.targets import RULE
from lwd_core.judges.train import SURE, What
from lwd_core.labels.labeller import Labeller, run_labellers
from lwd_core.labels.registry import CHECKS, LABELS, Broken, chosen
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings

_TRAINED = re.compile(r"model\.(?!py$)(\w+)(@\d+)?")
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
    for command in (train, models, ask):
        app.command()(command)


def train(
    what: Annotated[What, Argument(help="What it learns to say.")],
    name: Annotated[str, Option(help="Name of its layer; default: model.success or so.")] = "",
    where: Annotated[str, Option(help="SQL condition over episodes it learns from.")] = "true",
    rule: Annotated[
        list[str] | None,
        Option(help="Whose word: person, robot, a layer; repeat for the next. Default: person, robot."),
    ] = None,
    sure: Annotated[
        float, Option(help="Chance below which a success model says unknown.", min=0.5, max=0.999)
    ] = SURE,
    features: Annotated[
        str, Option(help="Features of frames it sees too, by the beginning of their name.")
    ] = "",
    camera: Annotated[
        list[str] | None, Option(help="Camera it sees by, with --features; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model that labels, from labelled episodes, and say how good it is on those held out.

    It is kept in the lake as the next version of its name; `lwd label run` lets it label.

    Example: lwd label train success
    """
    from lwd_core.judges.train import train as learn

    settings = Settings()
    if bool(features) != bool(camera):
        raise UserError("features: name the layer by --features and whose frames by --camera, or neither")
    lake = Lake.open(settings.lake)
    done = learn(
        lake,
        what,
        name=name,
        where=where,
        rule=tuple(rule or RULE),
        sure=sure,
        sight=FrameView.of(lake, features, camera or ()) if features else None,
        embodiments=load_embodiments(settings.embodiments),
        now_ns=time.time_ns(),
    )
    if as_json:
        say_json(asdict(done))
        return
    typer.echo(
        f"{done.layer_id}: learned from {done.episodes} episodes, {done.judged} of them judged by people"
    )
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


def ask(
    model: Annotated[str, Option(help="Name of the model at the endpoint.")],
    url: Annotated[str, Option(help="Endpoint of chat completions, as http://127.0.0.1:8000/v1.")],
    where: Annotated[str, Option(help="SQL condition over episodes.")] = "true",
    camera: Annotated[str, Option(help="Camera; default: the first by name.")] = "",
    pictures: Annotated[int, Option(help="Pictures of an episode.", min=1, max=32)] = 4,
    limit: Annotated[int, Option(help="Episodes at most, the newest first.", min=1, max=MOST)] = 100,
    version: Annotated[int, Option(help="Of the layer; raise it to ask again.", min=1)] = 1,
    yes: Annotated[bool, Option("--yes", help="Send it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a vision-language model whether episodes succeeded; says first what leaves this machine.

    Nothing is sent without --yes. The key, if the endpoint wants one, is read from LWD_VLM_KEY. Its layer is
    vlm.MODEL@VERSION; Ctrl-C keeps what was answered.

    Example: lwd label ask --url http://127.0.0.1:8000/v1 --model qwen2.5-vl --where "outcome = 'unknown'"
    """
    from lwd_core.judges.vlm import KEY, Endpoint, VlmJudge

    lake = Lake.open(Settings().lake)
    judge = VlmJudge(Endpoint(url, model, os.environ.get(KEY, "")), camera, pictures, version)
    plan = judge.plan(lake, where=where, limit=limit)
    facts = {name: value for name, value in asdict(plan).items() if name != "episodes"}
    if not yes:
        if as_json:
            say_json({**facts, "sent": False})
        else:
            typer.echo(f"{plan}\nnothing was sent; add --yes to send it")
        return
    typer.echo(str(plan), err=True)
    (run,) = run_labellers(
        lake, [judge], now_ns=time.time_ns(), where="episode_id IN (SELECT unnest(?))",
        params=(list(plan.episodes),),
    )  # fmt: skip
    if as_json:
        say_json({**facts, "sent": True, "spent": judge.spent, "run": asdict(run)})
    else:
        spent = f"{judge.spent['requests']} requests, {judge.spent['tokens']} tokens"
        typer.echo(f"{run.layer_id}: {run.episodes} episodes labelled; {spent}")
    for reason in run.reasons():
        typer.echo(f"{run.layer_id}: {reason}", err=True)
    if run.failed:
        raise typer.Exit(EXIT_FOUND)


def labellers_of(lake: Lake, what: list[str]) -> tuple[list[Labeller], list[Broken]]:
    """What these names mean: models of the lake, and what `chosen` finds. Raises `UserError`."""
    trained: list[Judge] = []
    others: list[str] = []
    for name in what:
        judge = judge_of(lake, name)
        if judge is None:
            _require_trained(name)
            others.append(name)
        else:
            trained.append(judge)
    if trained and not others:
        return list(trained), []
    found, broken = chosen(others)
    return [*trained, *found], broken


def _require_trained(name: str) -> None:
    """Refuse a name that training gives and nothing has, and say how it comes about."""
    own = _TRAINED.fullmatch(name)
    if own and name not in (*LABELS.names(), *CHECKS.names()):
        what = own[1] if own[1] in tuple(What) else f"success --name model.{own[1]}"
        raise UserError(f"{name}: no such model was trained yet; train it: `lwd label train {what}`")


def _lines(figures: Mapping[str, Figure]) -> list[str]:
    return [f"{_WORDS[name]}: {figure}" for name, figure in figures.items()]
