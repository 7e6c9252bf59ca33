"""One episode as a page for a person to look at: facts, segments, labels, plots, a few frames."""

from importlib import resources

import numpy as np
import pyarrow as pa
from jinja2 import Environment, select_autoescape
from matplotlib.figure import Figure

from lwd_core.lake.episode import Episode
from lwd_core.lake.pictures import Pictures
from lwd_core.lake.store import Lake
from lwd_core.reports.figures import HUMAN, INK, MUTED, STYLE, png
from lwd_core.reports.page import data_uri
from storage_schemas.embodiment import Embodiment

THUMBNAILS = 6


def episode_page(lake: Lake, view: Episode, embodiment: Embodiment | None) -> str:
    """The episode as one HTML text that loads nothing from anywhere."""
    template = (resources.files("lwd_core.reports") / "templates" / "episode.html").read_text()
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    state_names = [dim.name for dim in embodiment.state_dims] if embodiment else []
    action_names = [dim.name for dim in embodiment.action_dims] if embodiment else []
    pictures = Pictures(lake.place)
    seen = [
        (f["camera"], f["t"], data_uri_of(pictures.shown(pictures.bytes_of(f)))) for f in _thumbnails(view)
    ]
    return environment.from_string(template).render(
        view=view,
        action=data_uri(action_figure(view, action_names)),
        state=data_uri(state_figure(view, state_names)),
        thumbnails=seen,
        unshown=pictures.failed,
    )


def action_figure(view: Episode, names: list[str]) -> bytes:
    """One panel an action dim: executed and proposed; where a person acted is shaded."""
    rows = view.steps.filter(pa.array([bool(a) for a in view.steps.column("action").to_pylist()]))
    time = _seconds(rows, view)
    executed = np.array(rows.column("action").to_pylist(), np.float64)
    width = executed.shape[1] if executed.ndim == 2 else 0
    blank = [float("nan")] * width
    proposed = np.array([p or blank for p in rows.column("proposed").to_pylist()], np.float64)
    figure = Figure(figsize=(9.6, 1.3 * max(1, width)), layout="constrained")
    axes = figure.subplots(max(1, width), 1, sharex=True, squeeze=False).ravel()
    for dim in range(width):
        axes[dim].plot(time, executed[:, dim], color=INK, linewidth=1.2, label="executed")
        axes[dim].plot(time, proposed[:, dim], color=MUTED, linewidth=0.8, linestyle="--", label="proposed")
        axes[dim].set_ylabel(names[dim] if dim < len(names) else f"action {dim}", **STYLE)
        _shade(axes[dim], view)
    axes[0].legend(fontsize=7, frameon=False, ncols=2)
    axes[-1].set_xlabel("seconds (shaded: a person acts)", **STYLE)
    return png(figure)


def state_figure(view: Episode, names: list[str]) -> bytes:
    """All state dims as a heat map, each scaled to its own range: frozen and jumping ones stand out."""
    state = np.array(view.steps.column("state").to_pylist(), np.float64)
    span = np.ptp(state, axis=0)
    scaled = (state - state.min(axis=0)) / np.where(span > 0, span, 1)
    time = _seconds(view.steps, view)
    figure = Figure(figsize=(9.6, 0.8 + 0.13 * state.shape[1]), layout="constrained")
    axis = figure.subplots()
    last = float(time[-1]) or 1.0
    axis.imshow(
        scaled.T, aspect="auto", interpolation="nearest", cmap="viridis", extent=(0, last, state.shape[1], 0)
    )
    labels = names if len(names) == state.shape[1] else [str(i) for i in range(state.shape[1])]
    axis.set_yticks(np.arange(state.shape[1]) + 0.5, labels, fontsize=6)
    axis.set_xlabel("seconds; each row scaled to its own range", **STYLE)
    return png(figure)


def data_uri_of(image: bytes) -> str:
    """Camera bytes as a link that carries them; JPEG unless they say PNG."""
    return data_uri(image) if image.startswith(b"\x89PNG") else data_uri(image).replace("png", "jpeg", 1)


def _thumbnails(view: Episode) -> list[dict]:
    """A few frames of the first camera, evenly spread; ``t`` seconds from the start."""
    frames = [f for step in view.steps.column("frames").to_pylist() for f in step or ()]
    if not frames:
        return []
    camera = [f for f in frames if f["camera"] == frames[0]["camera"]]
    picked = np.unique(np.linspace(0, len(camera) - 1, THUMBNAILS).round().astype(int))
    return [camera[i] | {"t": (camera[i]["t_ns"] - view.facts["start_ns"]) / 1e9} for i in picked]


def _seconds(rows: pa.Table, view: Episode) -> np.ndarray:
    return (rows.column("t_ns").to_numpy() - view.facts["start_ns"]) / 1e9


def _shade(axis, view: Episode) -> None:
    for segment in view.segments.to_pylist():
        if segment["kind"] != "autonomous":
            span = [(segment[end] - view.facts["start_ns"]) / 1e9 for end in ("start_ns", "end_ns")]
            axis.axvspan(*span, color=HUMAN, alpha=0.2, linewidth=0)
