"""Frames out of a data set's videos, for cameras the embodiment names.

A video frame has no bytes of its own, so it becomes a JPEG here; logs that hold images keep theirs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import simplejpeg
from av.error import FFmpegError

QUALITY = 95


def frames(
    path: Path, start_s: float, frame: np.ndarray, fps: float, note: Callable[[str], None]
) -> Iterator[bytes | None]:
    """JPEGs of the rows whose frame numbers are (N,) ``frame``, ascending from 0 at ``start_s``.

    None where the video lacks one; what is missing is told to ``note``.
    """
    at, missing = 0, 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            wanted = frame.tolist()
            if start_s == 0 and stream.frames == len(wanted):
                wanted = list(range(len(wanted)))  # a frame a row, whatever the rows' numbers say
            begin = float((stream.start_time or 0) * (stream.time_base or 0))
            if start_s > 0 and stream.time_base:
                container.seek(int((begin + start_s) / stream.time_base), stream=stream)
            for picture in container.decode(stream):
                place = round(((picture.time or 0.0) - begin - start_s) * fps)
                while at < len(wanted) and wanted[at] < place:
                    at, missing = at + 1, missing + 1
                    yield None
                if at == len(wanted):
                    break
                if wanted[at] == place:
                    at += 1
                    yield simplejpeg.encode_jpeg(picture.to_ndarray(format="rgb24"), quality=QUALITY)
    except (FFmpegError, IndexError, ValueError, OSError) as e:
        note(f"{path.name} cannot be decoded ({e})")
    if missing := missing + len(frame) - at:
        note(f"{missing} of {len(frame)} frames missing in {path.name}")
