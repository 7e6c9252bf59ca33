"""A camera's frames of one episode as a short film that a page can carry."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from lwd_core.lake.pictures import Pictures, fitted
from lwd_core.lake.store import Lake

MOST_FRAMES = 60


@dataclass(frozen=True)
class Clip:
    """An MP4 (H.264), whose episode it is, and how many of its frames can't be shown."""

    episode_id: str
    robot_id: str
    task: str
    outcome: str
    interventions: int
    mp4: bytes
    unshown: int = 0


def clips(lake: Lake, count: int = 4) -> tuple[Clip, ...]:
    """Films of the newest fleet episodes that have a camera: of another task each, failures first.

    Frames come at the camera's own pace, evenly thinned to ``MOST_FRAMES``.
    """
    rows = lake.sql(
        "WITH seen AS (SELECT episode_id, outcome, start_ns, row_number() OVER "
        "(PARTITION BY task ORDER BY outcome = 'success', start_ns DESC) AS place "
        "FROM episodes WHERE source IN ('rollout', 'online') AND episode_id IN "
        "(SELECT DISTINCT episode_id FROM steps WHERE len(frames) > 0)), "
        "chosen AS (SELECT episode_id FROM seen WHERE place = 1 "
        "ORDER BY outcome = 'success', start_ns DESC LIMIT ?) "
        "SELECT episode_id, robot_id, task, outcome, interventions FROM episodes JOIN chosen "
        "USING (episode_id) ORDER BY outcome, task",
        (count,),
    ).to_pylist()
    frames = first_camera(lake, [row["episode_id"] for row in rows])
    return tuple(
        Clip(
            row["episode_id"],
            row["robot_id"],
            row["task"],
            row["outcome"],
            row["interventions"],
            *_film(lake, [seen["frame"] for seen in frames[row["episode_id"]]]),
        )
        for row in rows
    )


def first_camera(lake: Lake, episodes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Of each episode that has a camera: ``step`` and ``frame`` of the first of them, each frame once.

    Steps name a frame as often as the robot acted before the next came.
    """
    rows = lake.sql(
        "SELECT episode_id, min(step) AS step, frames[1] AS frame FROM steps WHERE len(frames) > 0 "
        "AND list_contains(?, episode_id) GROUP BY ALL ORDER BY episode_id, step",
        (list(episodes),),
    ).to_pylist()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = found.setdefault(row["episode_id"], [])
        if not own or own[0]["frame"]["camera"] == row["frame"]["camera"]:
            own.append(row)
    return found


def evenly(count: int, most: int) -> list[int]:
    """At most so many places of a list, first and last among them, evenly spread."""
    if count <= most or most == 1:
        return list(range(min(count, most)))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _film(lake: Lake, frames: Sequence[dict[str, Any]]) -> tuple[bytes, int]:
    shown = [frames[i] for i in evenly(len(frames), MOST_FRAMES)]
    seconds = (shown[-1]["t_ns"] - shown[0]["t_ns"]) / 1e9
    rate = Fraction(max(1, round((len(shown) - 1) / seconds)) if seconds > 0 else 5)
    pictures = Pictures(lake.place)
    seen = [pictures.pixels(pictures.bytes_of(frame)) for frame in shown]
    return encode(seen, rate), pictures.failed


def encode(pictures: Sequence[np.ndarray | None], rate: Fraction) -> bytes:
    """Pictures (height, width, 3) u8 as an MP4 of the first's size; an odd last row or column is lost.

    None is a frame that can't be shown, and shown as such.
    """
    whole = next((p for p in pictures if p is not None), None)
    height, width = (
        side - side % 2 for side in (fitted(None, 240, 320) if whole is None else whole).shape[:2]
    )
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "24", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            pixels = np.ascontiguousarray(fitted(picture, height, width))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()
