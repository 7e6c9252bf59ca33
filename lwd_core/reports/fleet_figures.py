"""Figures of the fleet page as PNG bytes."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lwd_core.policies.intervals import Rate
from lwd_core.reports.figures import BAD, HUMAN, INK, MUTED, STYLE, png, quiet
from lwd_core.reports.fleet import OTHERS, Fall, Point

Rates = Mapping[str, Mapping[str, Sequence[Point]]]


def success_over_time(rates: Rates) -> bytes:
    """Success by task, a line a policy, 95 % intervals."""
    return _over_time(rates, lambda point: point.success, "success rate of fleet episodes")


def interventions_over_time(rates: Rates) -> bytes:
    """Share of episodes in which a person took over, as ``success_over_time``."""
    return _over_time(rates, lambda point: point.intervened, "share of episodes a person helped in")


def falls_of_value(falls: Sequence[Fall]) -> bytes:
    """Value along episodes, the span where it fell most in red, what a person did in amber."""
    columns = 3
    rows = max(1, math.ceil(len(falls) / columns))
    figure = Figure(figsize=(9.6, 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axis, fall in zip(axes, falls, strict=False):
        curve = fall.curve
        first, last = curve.steps[fall.first], curve.steps[fall.last]
        for begin, end in curve.human:
            axis.axvspan(begin, end, color=HUMAN, alpha=0.2, linewidth=0)
        axis.plot(curve.steps, curve.values, color=INK, linewidth=1.2)
        axis.plot(
            curve.steps[fall.first : fall.last + 1],
            curve.values[fall.first : fall.last + 1],
            color=BAD,
            linewidth=2.2,
        )
        axis.axvline(first, color=BAD, linewidth=0.8, linestyle=":")
        axis.set_title(
            f"{curve.task}, {curve.outcome}\n−{fall.depth:.2f} in ticks {first} to {last}", **STYLE
        )
        quiet(axis)
    for axis in axes[len(falls) :]:
        axis.set_visible(False)
    figure.supxlabel("control tick; red: the fall; amber: a person acts", **STYLE)
    figure.supylabel("value", **STYLE)
    return png(figure)


def _over_time(rates: Rates, rate: Callable[[Point], Rate], label: str) -> bytes:
    lines = {line: None for own in rates.values() for line in own}
    colours = matplotlib.colormaps["viridis"]
    named = [line for line in lines if line != OTHERS]
    shade: dict[str, Any] = {
        line: colours(0.05 + 0.8 * i / max(1, len(named) - 1)) for i, line in enumerate(named)
    }
    shade[OTHERS] = MUTED
    columns = 3
    rows = max(1, math.ceil(len(rates) / columns))
    figure = Figure(figsize=(9.6, 0.5 + 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    drawn = {}
    marks = _marks([p for own in rates.values() for points in own.values() for p in points])
    for axis, (task, own) in zip(axes, rates.items(), strict=False):
        for line, points in own.items():
            found = [rate(p) for p in points]
            drawn[line] = axis.errorbar(
                [p.place for p in points],
                [r.rate for r in found],
                yerr=[[r.rate - r.low for r in found], [r.high - r.rate for r in found]],
                color=shade[line],
                marker="o",
                markersize=3.5,
                capsize=2,
                linewidth=1.2,
            )
        axis.set_title(task, **STYLE)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xticks([p.place for p in marks], [_time(p) for p in marks])
        quiet(axis)
    for axis in axes[len(rates) :]:
        axis.set_visible(False)
    if drawn:
        figure.legend(
            [drawn[line] for line in lines],
            [line[:8] for line in lines],
            loc="outside upper center",
            ncols=6,
            fontsize=7,
            frameon=False,
        )
    figure.supxlabel("the fleet's episodes in the order of time", **STYLE)
    figure.supylabel(label, **STYLE)
    return png(figure)


def _marks(points: Sequence[Point], count: int = 4) -> list[Point]:
    """A few points, evenly spread over the episodes, whose times are written below."""
    ordered = sorted(points, key=lambda p: p.place)
    wanted = [
        ordered[0].place + (ordered[-1].place - ordered[0].place) * i / (count - 1) for i in range(count)
    ]
    return list(dict.fromkeys(min(ordered, key=lambda p: abs(p.place - place)) for place in wanted))


def _time(point: Point) -> str:
    return datetime.fromtimestamp(point.start_ns / 1e9, UTC).strftime("%m-%d\n%H:%M")
