"""One camera's mp4 files of a LeRobot v3.0 data set: constant rate, every episode cuttable.

Frame k of an episode stands at exactly ``from_timestamp + k / fps``; times are computed from
frame counts, never probed, and a file ends before 1024 s, where LeRobot's float32 comparison
loses a tenth of a millisecond.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from lwd_core.errors import UserError
from lwd_core.exports.choices import VideoCodec
from lwd_core.lake.pictures import decoded, fitted

MAX_SECONDS = 1000.0
KEYFRAME_EVERY = 2
#: Encoder and its options; every episode begins with a key frame, and no frame looks ahead.
ENCODERS = {
    VideoCodec.H264: ("libx264", {"crf": "20", "bf": "0", "sc_threshold": "0", "threads": "1"}),
    VideoCodec.AV1: ("libsvtav1", {"crf": "30", "preset": "10", "svtav1-params": "pred-struct=1:lp=1"}),
}


@dataclass(frozen=True)
class VideoSpan:
    """Where one episode lies: file number, and seconds within the file."""

    file_index: int
    from_timestamp: float
    to_timestamp: float


class CameraVideo:
    """Writes one camera's episodes one after another as yuv420p.

    ``size``: (height, width) of the film, smaller frames stand in black; None for the first frame's, and
    all have it.
    """

    def __init__(
        self,
        folder: Path,
        fps: int,
        max_bytes: int,
        codec: VideoCodec = VideoCodec.H264,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._folder, self._fps, self._max_bytes = folder, fps, max_bytes
        self.codec, self._padded = codec, size is not None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._file_index, self._frames = -1, 0
        self.height, self.width = (_even(side) for side in size or (0, 0))
        self.unshown = 0

    def add_absent(self, length: int) -> VideoSpan:
        """Append black frames for an episode that this camera saw nothing of."""
        start = self._begin_episode(length)
        black = np.zeros((self.height, self.width, 3), np.uint8)
        for count in range(length):
            self._encode(black, keyframe=count % KEYFRAME_EVERY == 0)
        return VideoSpan(self._file_index, start / self._fps, self._frames / self._fps)

    def add_episode(self, jpegs: Iterable[bytes], length: int) -> VideoSpan:
        """Append an episode of exactly ``length`` frames, given as JPEG bytes.

        One that can't be shown is a card of the video's size, counted by ``unshown``.
        """
        jpegs = list(jpegs)
        if not self.height:
            whole = next((p for jpeg in jpegs if (p := decoded(jpeg)) is not None), None)
            self.height, self.width = (
                _even(s) for s in (fitted(None, 240, 320) if whole is None else whole).shape[:2]
            )
        start, count = self._begin_episode(length), 0
        picture, last_bytes, pixels = None, None, fitted(None, self.height, self.width)
        for jpeg in jpegs:
            # A camera slower than the control rate shows the same bytes at several steps.
            if jpeg is not last_bytes:
                picture, last_bytes = decoded(jpeg), jpeg
                pixels = fitted(None, self.height, self.width) if picture is None else picture
            self.unshown += picture is None
            self._encode(pixels, keyframe=count % KEYFRAME_EVERY == 0)
            count += 1
        if count != length:
            raise ValueError(f"{self._folder}: {count} frames for an episode of {length} steps")
        return VideoSpan(self._file_index, start / self._fps, self._frames / self._fps)

    def _begin_episode(self, length: int) -> int:
        """The frame of its file at which an episode of this length begins."""
        if self._must_roll(length):
            self._open_next()
        return self._frames

    def close(self) -> None:
        """Finish the file that is open."""
        if self._container is None or self._stream is None:
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        self._container = self._stream = None

    def _must_roll(self, length: int) -> bool:
        if self._container is None or (self._frames + length) / self._fps > MAX_SECONDS:
            return True
        # an encoder keeps the first frames back, and until they come there is no file
        return self._path().exists() and self._path().stat().st_size > self._max_bytes

    def _path(self) -> Path:
        return self._folder / f"chunk-000/file-{self._file_index:03d}.mp4"

    def _open_next(self) -> None:
        self.close()
        self._file_index, self._frames = self._file_index + 1, 0
        if self._file_index > 999:
            raise ValueError(f"{self._folder}: more than 1000 video files; export fewer episodes at a time")
        self._path().parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._path()), "w", options={"movflags": "+faststart"})

    def _encode(self, pixels: np.ndarray, *, keyframe: bool) -> None:
        assert self._container is not None
        height, width = (_even(side) for side in pixels.shape[:2])
        stream = self._stream or self._begin_stream(self._container)
        if (height, width) != (self.height, self.width):
            larger = height > self.height or width > self.width
            if larger or not self._padded:
                remedy = "leave its episode out" if self._padded else "choose --cameras pad or group"
                sizes = f"a frame of {width}×{height} among {self.width}×{self.height}"
                raise UserError(f"camera {self._folder.name}: {sizes}; {remedy}")
            pixels = fitted(pixels, self.height, self.width)
            height, width = self.height, self.width
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
        frame.pict_type = PictureType.I if keyframe else PictureType.P
        self._container.mux(stream.encode(frame))
        self._frames += 1

    def _begin_stream(self, container: OutputContainer) -> VideoStream:
        """yuv420p halves both sides, so an odd one loses its last row or column."""
        encoder, options = ENCODERS[self.codec]
        os.environ.setdefault("SVT_LOG", "1")  # else the AV1 encoder greets on stderr
        asked: Any = (
            container.add_stream
        )  # which streams there are, its types ask of the codec's literal name
        stream: VideoStream = asked(encoder, rate=self._fps, options=options | {"g": str(KEYFRAME_EVERY)})
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
        stream.time_base = Fraction(1, self._fps)
        self._stream = stream
        return stream


def _even(side: int) -> int:
    return side - side % 2
