"""Quality of what cameras showed, as a layer; some frames of each camera are looked at, evenly spread.

A *defect* says that the camera did not see: nothing on it may be trained. A *risk* says that it saw badly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lwd_core.labels.batches import each_batch
from lwd_core.labels.checks import scales
from lwd_core.labels.labeller import Labelled
from lwd_core.labels.said import Finding, LabelRows
from lwd_core.lake.episode import Episode, Frame
from lwd_core.lake.pictures import decoded
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind, Verdict

#: Of a pixel's brightness.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
CHECKS = (
    "defect.undecodable",
    "defect.size",
    "defect.black",
    "defect.frozen",
    "risk.over_exposed",
    "risk.blurred",
)


@dataclass(frozen=True)
class PictureLimits:
    """Where the lines are drawn; brightness is 0 to 255, shares are 0 to 1.

    ``frames`` of a camera are looked at. A picture is black where all but ``speck`` of it is darker than
    ``dark``; over-exposed where ``glaring`` of it is brighter than ``bright``; blurred where neighbouring
    pixels differ by less than ``sharp`` of what all do. A camera is black, over-exposed or blurred in more
    than ``share`` of its pictures. It is frozen where more than half of its pictures are the one before
    though the state moved by ``moved`` of its scale between them.
    """

    frames: int = 24
    dark: float = 16.0
    speck: float = 0.01
    bright: float = 250.0
    glaring: float = 0.5
    sharp: float = 0.02
    share: float = 0.1
    same: float = 0.05
    moved: float = 0.02


@dataclass(frozen=True)
class PictureQuality:
    """Rows: ``check`` its name, ``text`` the verdict, ``value`` that of the worst camera, which ``detail``
    names."""

    limits: PictureLimits = field(default_factory=PictureLimits)
    layer_id: str = "pictures@1"
    kind: LabelKind = LabelKind.QUALITY
    description: str = "Black, frozen, over-exposed, blurred or damaged pictures of each camera."
    source_digest: None = None  # versioned by hand

    def label(
        self, lake: Lake, episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        """One row an episode and check."""

        def judge(batch: list[Episode]) -> Labelled:
            rows = LabelRows(self.kind, "pictures")
            for episode in batch:
                rows.add(episode.id, len(episode), findings(episode, self.limits))
            return Labelled(rows.table())

        return each_batch(lake, episodes, embodiments, judge)


PICTURES = PictureQuality()


def findings(episode: Episode, limits: PictureLimits) -> dict[str, Finding]:
    """The verdict of each check, over all cameras."""
    frames: dict[str, list[Frame]] = {}
    for frame in episode.frames():
        frames.setdefault(frame.camera, []).append(frame)
    if not frames:
        return dict.fromkeys(CHECKS, Finding(Verdict.UNKNOWN, None, "no camera"))
    state = episode.state
    scale = scales(state, None, None, ())
    found = {camera: _of_camera(some, state, scale, limits) for camera, some in sorted(frames.items())}
    return {check: _worst(check, found) for check in CHECKS}


def _worst(check: str, found: Mapping[str, Mapping[str, Finding]]) -> Finding:
    """Of the cameras' findings that of the one that fails most; unknown only where all are."""
    camera = max(found, key=lambda c: (_RANK[found[c][check].verdict], found[c][check].value or 0.0))
    worst = found[camera][check]
    return Finding(worst.verdict, worst.value, worst.detail and f"camera {camera}: {worst.detail}")


_RANK = {Verdict.UNKNOWN: 0, Verdict.PASS: 1, Verdict.FAIL: 2}


def _of_camera(
    frames: Sequence[Frame], state: np.ndarray, scale: np.ndarray, limits: PictureLimits
) -> dict[str, Finding]:
    chosen = [int(i) for i in np.unique(np.linspace(0, len(frames) - 1, limits.frames).round())]
    looked = [(frames[i].step, _brightness(frames[i])) for i in chosen]
    seen = [(step, grey) for step, grey in looked if grey is not None]
    lost = len(looked) - len(seen)
    shapes = sorted({grey.shape for _, grey in seen})
    told = {
        "defect.undecodable": _finding(
            lost == 0, lost, f"{lost} of {len(looked)} pictures looked at are none"
        ),
        "defect.size": _finding(
            len(shapes) <= 1, len(shapes), "pictures of " + ", ".join(f"{h} × {w}" for h, w in shapes)
        ),
    }
    if not seen:
        return dict.fromkeys(CHECKS, Finding(Verdict.UNKNOWN, None, "no picture")) | told
    greys = [grey for _, grey in seen]
    for check, words, bad in (
        ("defect.black", "black", [(g >= limits.dark).mean() <= limits.speck for g in greys]),
        ("risk.over_exposed", "over-exposed", [(g >= limits.bright).mean() >= limits.glaring for g in greys]),
        ("risk.blurred", "blurred", [sharpness(g) < limits.sharp for g in greys]),
    ):
        share = float(np.mean(bad))
        told[check] = _finding(share <= limits.share, share, f"{share:.0%} of its pictures are {words}")
    return told | {"defect.frozen": _frozen(seen, state, scale, limits)}


def _frozen(
    seen: Sequence[tuple[int, np.ndarray]], state: np.ndarray, scale: np.ndarray, limits: PictureLimits
) -> Finding:
    moved = same = 0
    for (before, one), (after, other) in pairwise(seen):
        way = np.abs(state[min(after, len(state) - 1)] - state[before]) / scale
        if np.nanmax(way, initial=0.0) < limits.moved or one.shape != other.shape:
            continue
        moved += 1
        same += bool(np.abs(one - other).mean() <= limits.same)
    if moved < 2:
        return Finding(Verdict.UNKNOWN, None, "the robot hardly moves between its pictures")
    share = same / moved
    return _finding(
        share <= 0.5, share, f"{share:.0%} of its pictures are the one before though the robot moved"
    )


def sharpness(grey: np.ndarray) -> float:
    """How far pixels differ from the mean of their four neighbours, beside how far all differ; 1 for a
    picture without any contrast, of which nothing can be said."""
    spread = float(grey.std())
    if spread < 2 or min(grey.shape) < 3:
        return 1.0
    around = (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]) / 4
    return float(np.abs(grey[1:-1, 1:-1] - around).mean()) / spread


def _brightness(frame: Frame) -> np.ndarray | None:
    """(height, width) f32; None where there is no picture."""
    try:
        pixels = decoded(frame.data)
    except OSError:
        return None
    return None if pixels is None else pixels.astype(np.float32) @ _LUMA


def _finding(good: bool, value: float, trouble: str) -> Finding:
    return Finding(Verdict.PASS if good else Verdict.FAIL, float(value), "" if good else trouble)
