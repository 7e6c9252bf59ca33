"""Frames out of a data set's videos, for cameras the embodiment names.

A video frame has no bytes of its own, so it becomes a JPEG here; logs that hold images keep theirs.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import simplejpeg
from av.error import FFmpegError

QUALITY = 95


def frames(path: Path, start_s: float, count: int, fps: float, notes: list[str]) -> Iterator[bytes | None]:
    """JPEGs of ``count`` frames at ``start_s`` + k / fps; None where the video lacks one.

    What is missing is added to ``notes``.
    """
    at = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if start_s > 0 and stream.time_base:
                container.seek(int(start_s / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                place = round(((frame.time or 0.0) - start_s) * fps)
                if place < at:
                    continue
                if place >= count:
                    break
                for _ in range(place - at):
                    yield None
                yield simplejpeg.encode_jpeg(frame.to_ndarray(format="rgb24"), quality=QUALITY)
                at = place + 1
    except (FFmpegError, IndexError, ValueError, OSError) as e:
        notes.append(f"{path.name}: cannot be decoded ({e})")
    if at < count:
        notes.append(f"{path.name}: {count - at} of {count} frames missing")
