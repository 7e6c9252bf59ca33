"""A camera's frames of one episode as a short film that a page can carry."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import simplejpeg

from lwd_core.lake.frames import read_frame
from lwd_core.lake.store import Lake

MOST_FRAMES = 60


@dataclass(frozen=True)
class Clip:
    """An MP4 (H.264), and whose episode it is."""

    episode_id: str
    robot_id: str
    task: str
    outcome: str
    interventions: int
    mp4: bytes


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
        "SELECT e.episode_id, e.robot_id, e.task, e.outcome, e.interventions, "
        "list(s.frames[1] ORDER BY s.step) AS frames FROM steps s JOIN episodes e USING (episode_id) "
        "JOIN chosen USING (episode_id) WHERE len(s.frames) > 0 GROUP BY ALL ORDER BY e.outcome, e.task",
        (count,),
    ).to_pylist()
    return tuple(
        Clip(
            row["episode_id"],
            row["robot_id"],
            row["task"],
            row["outcome"],
            row["interventions"],
            _film(lake, row["frames"]),
        )
        for row in rows
    )


def _film(lake: Lake, frames: Sequence[dict]) -> bytes:
    camera = [frame for frame in frames if frame["camera"] == frames[0]["camera"]]
    picked = np.unique(np.linspace(0, len(camera) - 1, min(len(camera), MOST_FRAMES)).round().astype(int))
    shown = [camera[i] for i in picked]
    seconds = (shown[-1]["t_ns"] - shown[0]["t_ns"]) / 1e9
    rate = Fraction(max(1, round((len(shown) - 1) / seconds)) if seconds > 0 else 5)
    return encode([_pixels(read_frame(lake.place, frame)) for frame in shown], rate)


def _pixels(data: bytes) -> np.ndarray:
    if data.startswith(b"\xff\xd8\xff"):
        return simplejpeg.decode_jpeg(data)
    with av.open(io.BytesIO(data), "r") as container:  # PNG and WebP, as FFmpeg reads them
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def encode(pictures: Sequence[np.ndarray], rate: Fraction) -> bytes:
    """Pictures (height, width, 3) u8 as an MP4; an odd last row or column is lost."""
    height, width = (side - side % 2 for side in pictures[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "24", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            whole = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()
