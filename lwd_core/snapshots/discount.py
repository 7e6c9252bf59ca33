"""γ from how long the tasks take: what the end of an episode is worth at its start."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from lwd_core.snapshots.spec import SnapshotSpec


def resolved(spec: SnapshotSpec, episodes: Iterable[Mapping[str, Any]]) -> SnapshotSpec:
    """The spec with ``gamma`` in place of ``discount``, if it asks for that.

    ``episodes`` have task, steps and control_hz. The longest task counts, by the median of its episodes:
    there a small γ drowns the start in the critic's error; a shorter task is only discounted less by it.
    """
    if spec.discount is None:
        return spec
    lengths: dict[str, list[float]] = defaultdict(list)
    for e in episodes:
        frames = e["steps"] * ((spec.frame_rate or e["control_hz"]) / e["control_hz"])
        lengths[e["task"]].append(frames)
    longest = max(map(median, lengths.values()))
    gamma = round(spec.discount.episode ** (1 / longest), 6)
    return spec.model_copy(update={"gamma": gamma, "discount": None})
