"""Figures as PNG bytes. Drawn on bare ``Figure`` objects: no global state, no display."""

import io
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from lwd_core.policies.intervals import Rate
from lwd_core.reports.findings import Findings, RoundFindings, ValueCurve

INK, MUTED, GOOD, BAD, HUMAN = "#1b2733", "#8895a3", "#1f7a5a", "#b5452c", "#e0a53a"
STYLE = {"color": INK, "fontsize": 9}


def png(figure: Figure, dpi: int = 110) -> bytes:
    """Render; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def success_by_task(rounds: Sequence[RoundFindings]) -> bytes:
    """Success over the rounds, overall and for each task, with 95 % intervals."""
    rated = [(r.round.name, r.evaluation) for r in rounds if r.evaluation]
    tasks = sorted({task for _, e in rated for task in e.tasks})
    names = [name for name, _ in rated]
    columns = 3
    rows = max(1, math.ceil((len(tasks) + 1) / columns))
    figure = Figure(figsize=(9.6, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    panels = [("all tasks", [e.overall for _, e in rated])]
    panels += [(task, [e.tasks.get(task) for _, e in rated]) for task in tasks]
    for axis, (title, rates) in zip(axes, panels, strict=False):
        _rates(axis, rates, GOOD if title == "all tasks" else INK)
        axis.set_title(title, **STYLE)
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.supylabel("success rate, 95 % interval", **STYLE)
    return png(figure)


def _rates(axis, rates: Sequence[Rate | None], colour: str) -> None:
    known = [(x, r) for x, r in enumerate(rates) if r is not None]
    axis.errorbar(
        [x for x, _ in known],
        [r.rate for _, r in known],
        yerr=[[r.rate - r.low for _, r in known], [r.high - r.rate for _, r in known]],
        color=colour,
        marker="o",
        markersize=4,
        capsize=3,
        linewidth=1.4,
    )
    axis.set_ylim(-0.03, 1.03)
    quiet(axis)


def interventions(rounds: Sequence[RoundFindings]) -> bytes:
    """How much a person had to do on each fleet day."""
    figure = Figure(figsize=(9.6, 2.8), layout="constrained")
    share, count = figure.subplots(1, 2)
    names = [r.round.name for r in rounds]
    share.bar(names, [100 * r.fleet.human_share for r in rounds], color=HUMAN, width=0.6)
    share.set_ylabel("control ticks by a person, %", **STYLE)
    count.bar(
        names, [r.fleet.interventions / max(1, r.fleet.episodes) for r in rounds], color=MUTED, width=0.6
    )
    count.set_ylabel("interventions per episode", **STYLE)
    for axis in (share, count):
        axis.tick_params(axis="x", rotation=30, labelsize=8)
        quiet(axis)
    return png(figure)


def losses(rounds: Sequence[RoundFindings]) -> bytes:
    """Every metric with ``loss`` in its name, one panel a metric, rounds one after the other."""
    names = sorted({n for r in rounds for n in r.curves if "loss" in n})
    figure = Figure(figsize=(9.6, 2.2 * max(1, math.ceil(len(names) / 3))), layout="constrained")
    if not names:
        figure.text(0.5, 0.5, "no training metrics", ha="center", **STYLE)
        return png(figure)
    axes = figure.subplots(math.ceil(len(names) / 3), 3, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        start = 0.0
        for found in rounds:
            points = found.curves.get(name)
            if not points:
                continue
            axis.plot(
                [start + x for x, _ in points], [y for _, y in points], label=found.round.name, linewidth=1
            )
            start += points[-1][0]
        if all(y > 0 for r in rounds for _, y in r.curves.get(name, ())):
            axis.set_yscale("log")
        axis.set_title(name, **STYLE)
        axis.legend(fontsize=6, frameon=False)
        quiet(axis)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    figure.supxlabel("updates", **STYLE)
    return png(figure)


def value_curves(curves: Sequence[ValueCurve]) -> bytes:
    """Learned value along episodes; where a person acted is shaded."""
    outcomes = [o for o in ("success", "failure") if any(c.outcome == o for c in curves)]
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    if not outcomes:
        figure.text(0.5, 0.5, "no value layer yet", ha="center", **STYLE)
        return png(figure)
    axes = figure.subplots(1, len(outcomes), sharey=True, squeeze=False).ravel()
    for axis, outcome in zip(axes, outcomes, strict=True):
        for curve in [c for c in curves if c.outcome == outcome][:4]:
            (line,) = axis.plot(curve.steps, curve.values, linewidth=1.4, label=curve.task)
            for first, last in curve.human:
                axis.axvspan(first, last, color=line.get_color(), alpha=0.12, linewidth=0)
        axis.set_title(f"{outcome} (shaded: a person acts)", **STYLE)
        axis.set_xlabel("control tick", **STYLE)
        axis.legend(fontsize=7, frameon=False)
        quiet(axis)
    axes[0].set_ylabel("value", **STYLE)
    return png(figure)


def timeline(episodes: Sequence[dict], segments: Sequence[dict], limit: int = 40) -> bytes:
    """Who acted when: one row an episode, policy and person in two colours, outcome at the end.

    ``episodes`` rows: episode_id, task, steps, outcome; ``segments`` rows: episode_id, kind,
    first_step, last_step.
    """
    shown = list(episodes)[:limit]
    place = {e["episode_id"]: y for y, e in enumerate(shown)}
    figure = Figure(figsize=(9.6, 0.6 + 0.17 * max(4, len(shown))), layout="constrained")
    axis = figure.subplots()
    for s in segments:
        y = place.get(s["episode_id"])
        if y is not None:
            colour = HUMAN if s["kind"] != "autonomous" else MUTED
            axis.barh(
                y, s["last_step"] - s["first_step"] + 1, left=s["first_step"], color=colour, height=0.75
            )
    for y, e in enumerate(shown):
        axis.plot(
            e["steps"] + 2, y, marker="o", markersize=3, color=GOOD if e["outcome"] == "success" else BAD
        )
    axis.set_yticks(range(len(shown)), [e["task"] for e in shown], fontsize=6)
    axis.invert_yaxis()
    axis.set_xlabel("control tick; amber: a person acts; dot: success green, failure red", **STYLE)
    quiet(axis)
    return png(figure)


def all_figures(findings: Findings) -> dict[str, bytes]:
    """The figures of the report page, by file stem."""
    return {
        "success": success_by_task(findings.rounds),
        "values": value_curves(findings.values),
        "interventions": interventions(findings.rounds),
        "losses": losses(findings.rounds),
    }


def quiet(axis) -> None:
    """No frame, a faint grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6eaee", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, labelsize=8)
