"""What a policy looked at: where its plan changes when a part of the picture is hidden from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lwd_core.lake.pictures import Pictures
from lwd_core.lake.store import Lake
from lwd_core.policies.inference import Policy
from lwd_core.reports.clip import evenly
from lwd_core.reports.figures import STYLE, png

#: A picture is hidden part by part, in so many rows and columns.
PARTS = 8


@dataclass(frozen=True)
class Glance:
    """A moment of an episode: ``picture`` (h, w, 3) u8 of one camera, ``moved`` (PARTS, PARTS) how far the
    plan there moves without each part of it."""

    task: str
    outcome: str
    step: int
    picture: npt.NDArray[np.uint8]
    moved: npt.NDArray[np.float64]


def moved(
    policy: Policy,
    state: npt.NDArray[np.floating[Any]],
    instruction: str,
    shown: Mapping[str, npt.NDArray[np.uint8]],
    camera: str,
    embodiment: str = "",
) -> npt.NDArray[np.float64]:
    """(PARTS, PARTS): mean absolute change of the plan's numbers when that part of what a camera shows is
    painted in the picture's mean colour. The same noise throughout, so nothing else changes."""

    def plan(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return policy.act(
            state, instruction, np.random.default_rng(0), {**shown, camera: picture}, embodiment
        )

    picture = shown[camera]
    whole, colour = plan(picture), picture.mean((0, 1)).astype(np.uint8)
    rows, columns = ([side * i // PARTS for i in range(PARTS + 1)] for side in picture.shape[:2])
    found = np.zeros((PARTS, PARTS))
    for i, j in np.ndindex(PARTS, PARTS):
        hidden = picture.copy()
        hidden[rows[i] : rows[i + 1], columns[j] : columns[j + 1]] = colour
        found[i, j] = np.abs(plan(hidden) - whole).mean()
    return found


def glances(lake: Lake, policy: Policy, episodes: Sequence[str], *, each: int = 4) -> list[Glance]:
    """Some moments of each episode at which all of the policy's cameras showed something, evenly spread; of
    the first camera. Episodes that have none are left out."""
    camera = policy.cameras[0]
    rows = lake.sql(
        "SELECT e.episode_id, embodiment, task, outcome, instruction, step, state, frames FROM ("
        "SELECT episode_id, frames, min(step) AS step, arg_min(state, step) AS state FROM steps "
        "WHERE list_contains(?, episode_id) AND list_has_all([f.camera FOR f IN frames], ?) GROUP BY ALL) "
        "JOIN episodes e USING (episode_id) ORDER BY e.episode_id, step",
        (list(episodes), list(policy.cameras)),
    ).to_pylist()
    found: list[Glance] = []
    pictures = Pictures(lake.place)
    for episode in episodes:
        own = [row for row in rows if row["episode_id"] == episode]
        for i in evenly(len(own), each):
            row, seen = own[i], dict[str, npt.NDArray[np.uint8]]()
            for frame in row["frames"]:
                pixels = pictures.pixels(pictures.bytes_of(frame))
                if frame["camera"] in policy.cameras and pixels is not None:
                    seen[frame["camera"]] = pixels
            if len(seen) == len(policy.cameras):
                state = np.array(row["state"], np.float32)
                far = moved(policy, state, row["instruction"], seen, camera, row["embodiment"])
                found.append(Glance(row["task"], row["outcome"], row["step"], seen[camera], far))
    return found


def looked_at(seen: Sequence[Glance]) -> bytes:
    """Moments side by side, brighter where the plan hangs on what is seen there."""
    columns = 4
    rows = max(1, -(-len(seen) // columns))
    figure = Figure(figsize=(9.6, 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, glance in zip(axes, seen, strict=False):
        height, width = glance.picture.shape[:2]
        axis.imshow(glance.picture.mean(-1), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
        axis.imshow(
            glance.moved, cmap="inferno", alpha=0.55, vmin=0, interpolation="bilinear",
            extent=(0, width, height, 0),
        )  # fmt: skip
        most = glance.moved.max()
        axis.set_title(f"{glance.task}, {glance.outcome}\ntick {glance.step}, at most {most:.2f}", **STYLE)
    return png(figure, dpi=70)
