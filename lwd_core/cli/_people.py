"""The commands of `lwd label` that are about people: what they say, look at next, and agree in."""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._ask import MOST, Argument, Option
from lwd_core.cli._format import Format, render, say_result
from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.errors import UserError
from lwd_core.labels.exchange import people_said, read_labels
from lwd_core.labels.people import LabelsSet, PersonLabel, set_labels
from lwd_core.labels.queues import QUEUES, SAMPLE, queue
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location

By = Annotated[str, Option("--by", help="Who says it: small letters, digits, _ and -.")]


def set_(
    episode: Annotated[str, Argument(help="Episode id, or the beginning of one.")],
    by: By,
    outcome: Annotated[str | None, Option(help="success, failure or unknown.")] = None,
    stage: Annotated[str | None, Option(help="The furthest stage it reached, a word.")] = None,
    note: Annotated[
        str | None, Option(help="Words: of the span, else why the outcome, else of the episode.")
    ] = None,
    from_s: Annotated[float | None, Option("--from", help="Seconds from the first step.")] = None,
    to_s: Annotated[float | None, Option("--to", help="Seconds; default: the episode's end.")] = None,
    take_back: Annotated[
        list[str] | None, Option(help="outcome, stage or note: take back what they said.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how an episode went, as a person: a layer of theirs beside those of robots and models.

    Saying otherwise replaces what they said before, which is kept; saying it again changes nothing.

    Example: lwd label set 3f2a --outcome failure --by ann --from 3.2 --to 4.5 --note "the cup slips"
    """
    lake = Lake.open(Settings().lake)
    span = from_s is not None or to_s is not None
    why = note if outcome is not None and not span else None
    if span and note is None and "note" not in (take_back or ()):
        raise UserError("--from, --to: a span needs words; add --note")
    found = lake.episode(episode).id
    labels = [
        PersonLabel(found, by, kind, None, None, *((from_s, to_s) if kind == "note" else (None, None)))
        for kind in take_back or ()
    ]
    if outcome is not None:
        labels.append(PersonLabel(found, by, "outcome", outcome, why))
    if stage is not None:
        labels.append(PersonLabel(found, by, "stage", stage))
    if note is not None and why is None:
        labels.append(PersonLabel(found, by, "note", note, None, from_s, to_s))
    if not labels:
        raise UserError("nothing said: give --outcome, --stage or --note, or --take-back one of them")
    _told(set_labels(lake, labels, now_ns=time.time_ns()), as_json)


def queue_(
    name: Annotated[
        str, Argument(help=f"{', '.join(QUEUES)}. Without: what there is, and how many wait.")
    ] = "",
    by: Annotated[str, Option("--by", help="For whom: what they judged is not asked again.")] = "",
    where: Annotated[str, Option(help="SQL condition over episodes.")] = "true",
    since: Annotated[str, Option(help="First day of the episodes, YYYY-MM-DD.")] = "",
    limit: Annotated[int, Option(help="Most episodes shown; 1 is the next.", min=1, max=MOST)] = 20,
    sample: Annotated[int, Option(help="Episodes in the sample of `agreement`.", min=1, max=MOST)] = SAMPLE,
    seed: Annotated[int, Option(help="Which sample of `agreement`.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List what a person should look at next, and why.

    Example: lwd label queue doubts --by ann --limit 5
    """
    lake = Lake.open(Settings().lake)
    if not name:
        rows: list[dict[str, object]] = []
        for one, meaning in QUEUES.items():
            if one != "agreement" or by:
                first = queue(lake, one, by=by, where=where, since=since, limit=1, sample=sample, seed=seed)
                rows.append({"queue": one, "wait": sum(first["wait"].to_pylist()), "meaning": meaning})
        say_rows(rows, ("queue", "wait", "meaning"), as_json)
        return
    found = queue(
        lake, name, by=by, where=where, since=since, limit=limit, sample=sample, seed=seed
    ).to_pylist()
    if not as_json:
        waiting = found[0]["wait"] if found else 0
        found = [row | {"episode_id": row["episode_id"][:12]} for row in found]
        typer.echo(f"{waiting} wait: {QUEUES[name]}", err=True)
    say_rows(found, ("episode_id", "task", "outcome", "robot_id", "why"), as_json)


def agreement_(
    kind: Annotated[str, Option(help="outcome or stage.")] = "outcome",
    minimum: Annotated[int, Option(help="Least episodes that both judged.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Say how far people agree, with each other, with models and with the robots, and where they don't.

    Shares and Cohen's kappa have 95 % intervals.

    Example: lwd label agreement --minimum 20
    """
    from lwd_core.reports.agreement import agreement, disagreements

    lake = Lake.open(Settings().lake)
    pairs = [one.row for one in agreement(lake, kind, minimum=minimum)]
    split = [asdict(one) for one in disagreements(lake) if one.kind == kind]
    if as_json:
        say_json({"agreement": pairs, "disagreements": split})
        return
    shown = [
        row
        | {"rate": f"{row['rate']:.2f} [{row['rate_low']:.2f}, {row['rate_high']:.2f}]"}
        | {"kappa": "" if row["kappa"] is None
           else f"{row['kappa']:.2f} [{row['kappa_low']:.2f}, {row['kappa_high']:.2f}]"}
        for row in pairs
    ]  # fmt: skip
    say_rows(shown, ("one", "other", "episodes", "agreed", "rate", "kappa"), as_json)
    if split:
        short = [row | {"episode_id": row["episode_id"][:12]} for row in split]
        say_rows(short, ("episode_id", "task", "said", "recorded"), as_json)


def export_(
    file: Annotated[
        Path | None, Argument(help="A .csv or .json file; default: CSV on standard output.")
    ] = None,
    by: Annotated[str, Option("--by", help="Only what this person says.")] = "",
    history: Annotated[bool, Option(help="Also what was replaced or taken back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write what people said as CSV or JSON; `lwd label import` takes it in again.

    Example: lwd label export labels.csv --history
    """
    rows = people_said(Lake.open(Settings().lake), by=by, history=history)
    if file is None:
        say_result(rows, Format.CSV, as_json)
        return
    if file.suffix not in (".csv", ".json"):
        raise UserError(f"{file}: its name says no format; call it .csv or .json")
    with open_location(str(file.absolute().parent)).write(file.name) as stream:
        stream.write(render(rows, Format(file.suffix[1:])))
    if as_json:
        say_json({"file": str(file), "labels": rows.num_rows})
    else:
        typer.echo(f"{file}: {rows.num_rows} labels")


def import_(
    file: Annotated[str, Argument(help="A CSV or JSON file; - reads standard input.")],
    by: Annotated[str, Option("--by", help="Who said what the file says nobody said.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take in what people said elsewhere: all of a file, or nothing where a row is wrong.

    Columns: episode_id, kind, text; by, detail, from_s, to_s and at (when it was said) if there are any.

    Example: lwd label import labels.csv --by ann
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: can't be read: {error}") from error
    labels = read_labels(text, name=file, by=by)
    _told(set_labels(Lake.open(Settings().lake), labels, now_ns=time.time_ns()), as_json)


def _told(done: LabelsSet, as_json: bool) -> None:
    if as_json:
        say_json(asdict(done))
    else:
        counts = {"new": done.added, "changed": done.changed, "taken back": done.taken_back}
        said = [f"{n} {what}" for what, n in counts.items() if n]
        typer.echo(
            ", ".join([*said, f"{done.unchanged} as they were"] if done.unchanged or not said else said)
        )


def join(app: typer.Typer) -> None:
    """Give an application these commands."""
    for name, command in _COMMANDS.items():
        app.command(name)(command)


_COMMANDS = {
    "set": set_,
    "queue": queue_,
    "agreement": agreement_,
    "export": export_,
    "import": import_,
}
