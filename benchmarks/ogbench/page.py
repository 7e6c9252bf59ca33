"""The page: success after so many updates, with intervals, from the curves of every seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ogbench.plan import Comparison
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json

Curve = Mapping[str, Any]


def read_curves(home: Path) -> list[dict[str, Any]]:
    """What a home holds."""
    return [json.loads(path.read_text()) for path in sorted((home / "curves").glob("*.json"))]


def keep(plan: Comparison, record: Path, made: Sequence[Curve]) -> list[Curve]:
    """The plan's curves: those of ``record``, a JSON file, with ``made`` over them; written back to it.

    Other plans' tasks stay in it as they are.
    """
    known: list[Curve] = json.loads(record.read_text()) if record.exists() else []
    held: dict[tuple[str, str, int], Curve] = {}
    for one in (*known, *made):
        task, learner = one["task"], one["learner"]
        ours = task in plan.tasks
        if not ours or (learner in plan.learners and one["digest"] == plan.identity(task, learner)):
            held[task, learner, one["seed"]] = one
    rows = [held[key] for key in sorted(held)]
    with open_location(str(record.parent)).write(record.name) as out:
        out.write(b"[" + b",\n".join(canonical_json(row) for row in rows) + b"]\n")
    return [row for row in rows if row["task"] in plan.tasks]


def tables(plan: Comparison, curves: Sequence[Curve]) -> str:
    """A table a task, Markdown: success by learner and updates, pooled over its seeds."""
    parts: list[str] = []
    for task, asked in plan.tasks.items():
        here = [one for one in curves if one["task"] == task]
        if not here:
            continue
        updates = sorted({point[0] for one in here for point in one["curve"]})
        data = here[0]["data"]
        parts.append(
            f"### {task}\n\n`{asked.task}`: {data['transitions']:,} transitions of play, which come to the "
            f"goal {data['arrivals']} times; {plan.trials} trials a point and seed.\n"
        )
        rows: list[list[str]] = []
        for learner, contender in plan.learners.items():
            own = [one for one in here if one["learner"] == learner]
            if own:
                seeds = ", ".join(str(one["seed"]) for one in own)
                rows.append([contender.title, seeds, *(_cell(own, update) for update in updates)])
        head = ["success after", "seeds", *(f"{update:,} updates" for update in updates)]
        parts.append(_markdown(head, rows))
    return "\n".join(parts)


def into(page: str, name: str, tables: str) -> str:
    """A page with a plan's tables between its marks; what a person wrote around them stays."""
    begin = BEGIN.format(name)
    before, mark, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        return f"{page}\n{begin}\n\n{tables}\n{END}\n"
    return f"{before}{begin}\n\n{tables}\n{END}{after}"


BEGIN, END = "<!-- made by benchmarks.ogbench, plan {} -->", "<!-- until here -->"


def pooled(curves: Sequence[Curve], update: int) -> Rate:
    """Success of several seeds after so many updates."""
    points = [point for one in curves for point in one["curve"] if point[0] == update]
    return wilson(sum(point[1] for point in points), sum(point[2] for point in points))


def _cell(curves: Sequence[Curve], update: int) -> str:
    curves = [one for one in curves if any(point[0] == update for point in one["curve"])]
    rate = pooled(curves, update)
    if not rate.trials:
        return "–"
    text = f"{_short(rate.rate)} [{_short(rate.low)}, {_short(rate.high)}]"
    if len(curves) > 1:
        text += f" ({', '.join(_short(pooled([one], update).rate) for one in curves)})"
    return text


def _short(value: float) -> str:
    return "1.00" if value > 0.995 else f"{value:.2f}".lstrip("0")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])
