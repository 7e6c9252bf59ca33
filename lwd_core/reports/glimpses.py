"""Small figures of one table or run, as PNG bytes: what a person looks at before trusting the rest."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lwd_core.lake.pictures import WORDS, Pictures, card
from lwd_core.lake.store import Lake
from lwd_core.reports.figures import BAD, GOOD, INK, MUTED, STYLE, png, quiet

Curves = Mapping[str, Sequence[tuple[float, float]]]
_PANELS = 9


def training_curves(curves: Curves) -> bytes:
    """Losses over the updates of one run, one panel each; last, how long it waited for data."""
    shown = sorted(name for name in curves if "loss" in name)[: _PANELS - 1]
    shown += [name for name in ("data_wait_share",) if name in curves]
    if not shown:
        return _words("no training metrics yet")
    rows = math.ceil(len(shown) / 3)
    figure = Figure(figsize=(9.6, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for axis, name in zip(axes, shown, strict=False):
        points = curves[name]
        waits = name == "data_wait_share"
        axis.plot(
            [x for x, _ in points], [y for _, y in points], color=MUTED if waits else INK, linewidth=1.2
        )
        axis.set_title("share of time waiting for data" if waits else name, **STYLE)
        if waits:
            axis.set_ylim(0, 1)
        quiet(axis)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.supxlabel("updates", **STYLE)
    return png(figure)


def success_bars(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Success by task. ``rows``: task, success (0 to 1), and baseline (0 to 1, or None where unknown)."""
    figure = Figure(figsize=(9.6, 0.8 + 0.3 * max(2, len(rows))), layout="constrained")
    axis = figure.subplots()
    places = range(len(rows))
    ours, theirs = [row["success"] for row in rows], [row.get("baseline") for row in rows]
    axis.barh(places, ours, color=GOOD, height=0.55, label="this policy")
    known = [(y, value) for y, value in zip(places, theirs, strict=True) if value is not None]
    axis.plot(
        [v for _, v in known],
        [y for y, _ in known],
        "d",
        color=BAD,
        markersize=5,
        label="the one it replaces",
    )
    axis.set_yticks(places, [str(row["task"]) for row in rows], fontsize=8)
    axis.set_xlim(0, 1.02)
    axis.invert_yaxis()
    axis.set_xlabel("success rate", **STYLE)
    axis.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncol=2)
    quiet(axis)
    return png(figure)


def label_curves(lake: Lake, layer_id: str, where: str, params: Sequence[object]) -> bytes:
    """A layer's value along episodes, one a task and outcome; ``where`` speaks of columns of ``episodes``."""
    rows = lake.sql(
        "WITH chosen AS (SELECT task, outcome, min(episode_id) AS episode_id FROM episodes "
        f"WHERE {where} GROUP BY task, outcome ORDER BY task, outcome LIMIT 12) "
        "SELECT c.task, c.outcome, list(l.step ORDER BY l.step) AS steps, "
        "list(l.value ORDER BY l.step) AS values FROM labels l JOIN chosen c USING (episode_id) "
        "WHERE l.layer_id = ? AND l.step IS NOT NULL AND l.value IS NOT NULL GROUP BY ALL ORDER BY ALL",
        (*params, layer_id),
    ).to_pylist()
    if not rows:
        return _words("no labels of single steps here")
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    axis = figure.subplots()
    for row in rows:
        colour = GOOD if row["outcome"] == "success" else BAD
        axis.plot(row["steps"], row["values"], marker=".", color=colour, linewidth=1)
    axis.set_xlabel("control tick; green: success, red: failure; one episode a task and outcome", **STYLE)
    axis.set_ylabel(layer_id, **STYLE)
    quiet(axis)
    return png(figure)


def sample_frames(lake: Lake, where: str, params: Sequence[object], *, episodes: int = 2) -> bytes | None:
    """Four moments of the first episodes that have a camera; None where none has.

    ``where`` speaks of columns of ``steps``.
    """
    rows = lake.sql(
        "WITH seen AS (SELECT episode_id, step, frames[1] AS frame FROM steps "
        f"WHERE len(frames) > 0 AND {where}), few AS (SELECT DISTINCT episode_id FROM seen "
        "ORDER BY episode_id LIMIT ?), placed AS (SELECT *, ntile(4) OVER w AS quarter FROM seen "
        "JOIN few USING (episode_id) WINDOW w AS (PARTITION BY episode_id ORDER BY step)) "
        "SELECT e.task, p.episode_id, min(p.step) AS step, arg_min(p.frame, p.step) AS frame "
        "FROM placed p JOIN episodes e USING (episode_id) "
        "GROUP BY e.task, p.episode_id, p.quarter ORDER BY p.episode_id, step",
        (*params, episodes),
    ).to_pylist()
    if not rows:
        return None
    figure = Figure(figsize=(9.6, 2.5 * math.ceil(len(rows) / 4)), layout="constrained")
    axes = figure.subplots(math.ceil(len(rows) / 4), 4, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    pictures = Pictures(lake.place)
    for axis, row in zip(axes, rows, strict=False):
        picture = pictures.pixels(pictures.bytes_of(row["frame"]))
        axis.imshow(card() if picture is None else picture)
        said = f"{row['task']}, tick {row['step']}" + (f": {WORDS}" if picture is None else "")
        axis.set_title(said, fontsize=7, color=INK if picture is not None else BAD)
    return png(figure, dpi=70)


def _words(text: str) -> bytes:
    figure = Figure(figsize=(9.6, 0.8), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center", **STYLE)
    return png(figure)
