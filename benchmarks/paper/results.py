"""The table, from the cells of every seed: success with intervals and cycle time, per task."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paper.plan import CONTROL, LWD, SAME, SFT, Plan, cell_digest, cells
from lwd_core.fleet.sim.metaworld import CONTROL_HZ
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json

Made = Mapping[str, Sequence[Mapping[str, Any]]]


def read_cells(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Results by cell, one a seed, from ``<home>/seed-*/cells``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(home.glob("seed-*/cells/*.json")):
        made = json.loads(path.read_text())
        found.setdefault(made["name"], []).append(made)
    return found


def keep(plan: Plan, record: Path, made: Made) -> dict[str, list[dict[str, Any]]]:
    """The plan's cells: those a JSON file, ``record``, holds, with ``made`` over them; written back to it.

    So seeds that were made elsewhere stay in the table.
    """
    known: list[dict[str, Any]] = json.loads(record.read_text()) if record.exists() else []
    current = {cell.name: cell_digest(plan, cell) for cell in cells(plan)}
    told = [*known, *(one for results in made.values() for one in results)]
    held = {(one["name"], one["seed"]): one for one in told if current.get(one["name"]) == one["digest"]}
    order = list(current)
    rows = sorted(held.values(), key=lambda one: (order.index(one["name"]), one["seed"]))
    with open_location(str(record.parent)).write(record.name) as file:
        file.write(b"[" + b",\n".join(canonical_json(row) for row in rows) + b"]\n")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found


def render(plan: Plan, name: str, made: Made) -> str:
    """The page, in Markdown; cells that were not made yet are left out and named at the end."""
    order = [cell.name for cell in cells(plan)]
    seeds = sorted({one["seed"] for results in made.values() for one in results})
    text = [_HEAD.format(**_facts(plan, name, seeds))]
    if len(seeds) > 1:
        text += [f"Cells by their seeds: {_seeds_of(made, order)}.\n"]
    last = plan.rounds
    offline = [SFT, *plan.baselines, LWD]
    text += ["## Offline: demonstrations and one fleet day\n", _table(plan, made, offline)]
    online = [f"{row}-online-{last}" for row in (*plan.baselines, LWD)]
    text += [f"## Online: {last} more fleet days of each method's own\n", _table(plan, made, online)]
    text += ["## Round after round, all tasks\n", _rounds(plan, made)]
    text += [
        "## The same episodes: the clone's own first online day\n",
        _alike(
            plan,
            made,
            [CONTROL, f"{CONTROL}-online-1", SAME],
            titles=["Clone that worked that day", "Clone of it too", "LWD of it too"],
        ),
    ]
    if plan.ablations:
        text += ["## Ablations, on the same episodes\n", _ablations(plan, made)]
    if plan.fleets:
        sizes = sorted({plan.robots, *plan.fleets})
        fleet = [f"{LWD}{'' if n == plan.robots else f'-{n}'}-online-{last}" for n in sizes]
        text += [f"## Fleets of {', '.join(map(str, sizes))} robots, equally many hours\n"]
        text += [_alike(plan, made, fleet, titles=[f"{n} robot{'s' * (n > 1)}" for n in sizes])]
    text += ["## Each task\n", _tasks(plan, made, [SFT, *offline[1:], *online])]
    text += ["## Cycle time of successes, median seconds\n", _cycle(plan, made, [SFT, *offline[1:], *online])]
    missing = [cell for cell in order if cell not in made]
    if missing:
        text.append(f"Not made yet: {', '.join(missing)}.\n")
    return "\n".join(text)


_HEAD = """# The paper's table, in simulation

Made by `make paper` (`ARGS="--seed 1"` for another seed) from plan `{plan}`; seeds so far: {seeds}.
Everything went through the product: raw logs, lake, snapshots, trainer, signed releases. {tasks}
episodes each on the first day, of which a person watches {first} %, and {later_episodes} on each later one,
of which {later} % are watched; "human ticks" is how much of a row's days a person drove. Every policy is
judged alone on {judged} scenes a task that no training episode used and no setting was chosen by; all seeds
judge on the same scenes.{hard}
Clone is the control, the best imitation we know of these data, and what LWD starts from.

All methods see the same demonstrations and the same first fleet day; online each works days of its own,
equally long, and the baselines learn anew from all their data each round. Success is pooled over
seeds with Wilson's 95 % interval; with more than one seed the seeds' own figures follow in parentheses,
for the interval does not hold what differs between them.
"""


def _seeds_of(made: Made, order: Sequence[str]) -> str:
    by_seeds: dict[str, list[str]] = {}
    for name in order:
        if name in made:
            by_seeds.setdefault(", ".join(str(one["seed"]) for one in made[name]), []).append(f"`{name}`")
    most = sorted(by_seeds.items(), key=lambda item: -item[0].count(","))
    return "; ".join(f"{seeds}: {', '.join(names)}" for seeds, names in most)


def _facts(plan: Plan, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "plan": name,
        "seeds": ", ".join(map(str, seeds)) or "none",
        "tasks": _asked(plan),
        "first": f"{100 * plan.day.offline.watched:g}",
        "later_episodes": plan.day.online.episodes,
        "later": f"{100 * plan.day.online.watched:g}",
        "hard": f' "Hard" are {_names(plan.hard)}, which leave room above imitation.' if plan.hard else "",
        "judged": plan.evaluation.episodes_per_task,
    }


def _asked(plan: Plan) -> str:
    """What robots are asked to do, what they have to do it by, and how much they work."""
    demonstrated = plan.demonstrations
    work = f"{plan.robots} robots run {plan.day.offline.episodes}"
    if plan.tasks.long:
        told = [
            f"{_names(plan.tasks.short)} are",
            f"short, {_names(plan.tasks.long)} long: three manipulations in sequence with success "
            "at the very end ([how](fleet.md)).",
            f"Demonstrations: {demonstrated.short} a short task, {demonstrated.long} a long one. {work}",
        ]
    else:
        told = [f"Tasks: {_names(plan.tasks.short)}.", f"Demonstrations: {demonstrated.short} a task. {work}"]
    if plan.camera_hz:
        told[1:1] = [
            f"Where things are, only the camera of these robots (`{plan.robot}`) shows ([how](eyes.md));",
            f"they are told in {plan.words} words, and judged in {plan.evaluation.words} ones.",
        ]
    return "\n".join(told)


def _names(tasks: Sequence[str]) -> str:
    return ", ".join(f"`{task}`" for task in tasks)


def _table(plan: Plan, made: Made, names: Sequence[str], titles: Sequence[str] | None = None) -> str:
    kinds = {"short": plan.tasks.short, "long": plan.tasks.long, "hard": plan.hard}
    groups = {kind: tasks for kind, tasks in kinds.items() if tasks} | {"all": plan.names}
    rows = []
    for i, name in enumerate(names):
        results = made.get(name, ())
        if not results:
            continue
        title = titles[i] if titles else results[0]["title"]
        shares = [_success(results, tasks) for tasks in groups.values()]
        rows.append([title, *shares, _human(results), _seconds(results, plan.names)])
    return _markdown(["", *groups, "human ticks", "cycle time, s"], rows)


def _alike(plan: Plan, made: Made, names: Sequence[str], titles: Sequence[str] | None = None) -> str:
    """A table whose rows differ in one thing only: on the seeds that all of them have."""
    there = [made[name] for name in names if name in made]
    common = set.intersection(*({one["seed"] for one in results} for results in there)) if there else set()
    chosen = {name: [one for one in made.get(name, ()) if one["seed"] in common] for name in names}
    said = f"On seed {', '.join(map(str, sorted(common)))} alone, which all rows have.\n\n"
    return (said if common else "") + _table(plan, chosen, names, titles)


def _ablations(plan: Plan, made: Made) -> str:
    """What each changed thing does: beside LWD as it is, on the very seeds that were made without it."""
    whole = {one["seed"]: one for one in made.get(SAME, ())}
    groups = {kind: tasks for kind, tasks in (("hard", plan.hard), ("all", plan.names)) if tasks}
    rows: list[list[str]] = []
    for name in (f"{LWD}-{ablation}" for ablation in plan.ablations):
        results = [one for one in made.get(name, ()) if one["seed"] in whole]
        if results:
            beside = [whole[one["seed"]] for one in results]
            shares = [_success(of, tasks) for tasks in groups.values() for of in (results, beside)]
            seeds = ", ".join(str(one["seed"]) for one in results)
            rows.append([results[0]["title"], seeds, *shares])
    head = [title for kind in groups for title in (kind, f"{kind}, LWD as it is")]
    return _markdown(["", "seeds", *head], rows)


def _rounds(plan: Plan, made: Made) -> str:
    rows = []
    for row in (*plan.baselines, LWD):
        turns = [made.get(row, ()), *(made.get(f"{row}-online-{i}", ()) for i in range(1, plan.rounds + 1))]
        if any(turns):
            title = next(turn for turn in turns if turn)[0]["title"]
            rows.append([title, *(_success(turn, plan.names) if turn else "" for turn in turns)])
    return _markdown(["", "offline", *(f"online {i}" for i in range(1, plan.rounds + 1))], rows)


def _tasks(plan: Plan, made: Made, names: Sequence[str]) -> str:
    there = [name for name in names if name in made]
    rows = [
        [f"`{task}`", *(_success(made[name], [task], seeds=False) for name in there)] for task in plan.names
    ]
    return _markdown(["", *(_column(made[name][0]) for name in there)], rows)


def _cycle(plan: Plan, made: Made, names: Sequence[str]) -> str:
    there = [name for name in names if name in made]
    rows = [[f"`{task}`", *(_seconds(made[name], [task]) for name in there)] for task in plan.names]
    return _markdown(["", *(_column(made[name][0]) for name in there)], rows)


def _column(result: Mapping[str, Any]) -> str:
    return result["title"] + (" online" if "-online-" in result["name"] else "")


def _success(results: Sequence[Mapping[str, Any]], tasks: Sequence[str], *, seeds: bool = True) -> str:
    rate = _rate(results, tasks)
    text = f"{_short(rate.rate)} [{_short(rate.low)}, {_short(rate.high)}]"
    if seeds and len(results) > 1:
        text += f" ({', '.join(_short(_rate([one], tasks).rate) for one in results)})"
    return text


def _rate(results: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> Rate:
    told = [one["tasks"][task] for one in results for task in tasks]
    return wilson(sum(t["successes"] for t in told), sum(t["trials"] for t in told))


def _seconds(results: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """Mean over tasks of the median, so that a task that succeeds more often does not weigh more."""
    medians = []
    for task in tasks:
        steps = [s for one in results for s in one["tasks"][task]["steps_of_successes"]]
        if steps:
            medians.append(float(np.median(steps)) / CONTROL_HZ)
    return f"{np.mean(medians):.2f}" if medians else "–"


def _human(results: Sequence[Mapping[str, Any]]) -> str:
    """How much of the fleet's days a person drove, mean over seeds."""
    return f"{100 * np.mean([one['human'] for one in results]):.1f} %"


def _short(value: float) -> str:
    return "1.00" if value > 0.995 else f"{value:.2f}".lstrip("0")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])
