"""Films with what the critic expects below: where an episode went well or wrong, as it saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lwd_core.lake.pictures import Pictures, fitted
from lwd_core.lake.store import Lake
from lwd_core.reports.clip import MOST_FRAMES, encode, evenly, first_camera
from lwd_core.reports.findings import ValueCurve

#: Small pictures are shown so many pixels wide or more; the curve's height.
_WIDTH, _HEIGHT = 288, 96
_PAPER, _INK, _NOW, _PERSON = (255, 255, 255), (27, 39, 51), (181, 69, 44), (250, 236, 212)


@dataclass(frozen=True)
class ValuedClip:
    """An MP4 (H.264) of an episode, with its values below; ``low`` and ``high`` bound what is drawn."""

    curve: ValueCurve
    low: float
    high: float
    mp4: bytes
    unshown: int = 0


def valued_clips(lake: Lake, curves: Sequence[ValueCurve]) -> tuple[ValuedClip, ...]:
    """A film of a success and one of a failure, of one task where there is one with both.

    ``curves`` are those to choose from; none where no such episode has a camera.
    """
    frames = first_camera(lake, [curve.episode_id for curve in curves])
    filmed = [curve for curve in curves if curve.episode_id in frames]
    both = {c.task for c in filmed if c.outcome == "success"} & {
        c.task for c in filmed if c.outcome == "failure"
    }
    chosen: dict[str, ValueCurve] = {}
    for curve in sorted(filmed, key=lambda c: (c.task not in both, c.task, c.episode_id)):
        if curve.outcome in ("success", "failure"):
            chosen.setdefault(curve.outcome, curve)
    if not chosen:
        return ()
    values = np.concatenate([curve.values for curve in chosen.values()])
    low, high = min(0.0, float(values.min())), max(float(values.max()), 1e-6)
    return tuple(
        ValuedClip(curve, low, high, *_film(lake, curve, frames[curve.episode_id], low, high))
        for _, curve in sorted(chosen.items(), reverse=True)
    )


def _film(
    lake: Lake, curve: ValueCurve, rows: Sequence[dict[str, Any]], low: float, high: float
) -> tuple[bytes, int]:
    shown = [rows[i] for i in evenly(len(rows), MOST_FRAMES)]
    seconds: float = (shown[-1]["frame"]["t_ns"] - shown[0]["frame"]["t_ns"]) / 1e9
    # half as fast as life: what goes wrong at 80 Hz is over before it is seen
    rate = Fraction(max(1, round((len(shown) - 1) / seconds / 2)) if seconds > 0 else 5)
    pictures = Pictures(lake.place)
    seen = [pictures.pixels(pictures.bytes_of(row["frame"])) for row in shown]
    whole = next((picture for picture in seen if picture is not None), fitted(None, 96, 96))
    height, width = whole.shape[:2]
    times = max(1, -(-_WIDTH // width))
    below = _drawn(curve, width * times, low, high)
    film: list[np.ndarray] = []
    for picture, row in zip(seen, shown, strict=True):
        large = fitted(picture, height, width).repeat(times, axis=0).repeat(times, axis=1)
        strip = below.copy()
        at = _column(row["step"], curve, strip.shape[1])
        strip[:, max(0, at - 1) : at + 2] = _NOW
        film.append(np.concatenate([large, strip]))
    return encode(film, rate), pictures.failed


def _drawn(curve: ValueCurve, width: int, low: float, high: float) -> np.ndarray:
    """Values along the episode, from ``low`` to ``high``; where a person acts the paper is amber."""
    strip = np.full((_HEIGHT, width, 3), _PAPER, np.uint8)
    for first, last in curve.human:
        strip[:, _column(first, curve, width) : _column(last, curve, width) + 1] = _PERSON
    at = [_column(step, curve, width) for step in curve.steps]
    share = np.interp(np.arange(width), at, (np.array(curve.values) - low) / max(high - low, 1e-9))
    rows = ((1 - share) * (_HEIGHT - 5)).round().astype(int) + 2
    for x, (one, other) in enumerate(zip(rows, np.append(rows[1:], rows[-1]), strict=True)):
        strip[min(one, other) - 1 : max(one, other) + 2, x] = _INK
    return strip


def _column(step: int, curve: ValueCurve, width: int) -> int:
    return round((width - 1) * step / max(1, curve.steps[-1], *(last for _, last in curve.human)))
