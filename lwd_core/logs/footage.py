"""Cameras that send a video: one message a frame, H.264 or H.265 as Annex B.

A frame of a video is no picture by itself, so each is decoded once, in the order of the messages, and
becomes a JPEG; the bytes as they were sent stay in the raw log.
"""

import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import av
import simplejpeg
from av.error import FFmpegError

from lwd_core.logs.video import QUALITY

Stamp = TypeVar("Stamp")

_START = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_LOOKED_AT = 1 << 16  # parameter sets and the first slice stand at a message's beginning
_MOST_PIXELS = 1 << 26
_KEY = {"h264": frozenset({5}), "hevc": frozenset(range(16, 22))}
_PARAMETERS = {"h264": frozenset({7}), "hevc": frozenset({32, 33})}
_SLICES = {"h264": frozenset(range(1, 6)), "hevc": frozenset(range(32))}


class Footage(Generic[Stamp]):
    """One camera's video while its log is read.

    What `feed` and `flush` give are (stamp, JPEG): decoders may hold a frame back until later messages
    have come, so each frame comes with the stamp of its own message.
    """

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.shown = self.early = self.broken = 0
        self.why = ""
        self._waiting: dict[int, Stamp] = {}
        self._fed = 0
        self._whole = False  # since the last key frame nothing was lost
        self._context = self._open()

    def _open(self) -> Any:
        context = av.CodecContext.create(self.codec, "r")
        context.thread_count = 1
        context.options = {"max_pixels": str(_MOST_PIXELS), "err_detect": "explode"}
        return context

    def feed(self, data: bytes, stamp: Stamp) -> Iterator[tuple[Stamp, bytes]]:
        """Frames that are known after this message, which bears ``stamp``."""
        kinds = _units(data, self.codec)
        if not kinds:
            self.why, self.broken, self._whole = (
                self.why or "not Annex B: no start code",
                self.broken + 1,
                False,
            )
            return
        is_frame = bool(kinds & _SLICES[self.codec])
        if is_frame and kinds & (_KEY[self.codec] | _PARAMETERS[self.codec]):
            self._whole = True
        if is_frame and not self._whole:  # it says how it differs from a frame that is not known
            self.early += not self.shown
            self.broken += bool(self.shown)
            return
        packet = av.Packet(data)
        packet.pts = packet.dts = self._fed
        if is_frame:
            self._waiting[self._fed] = stamp
        self._fed += 1
        yield from self._decoded(packet)

    def flush(self) -> Iterator[tuple[Stamp, bytes]]:
        """Frames the decoder still holds; those it never gave are counted as broken."""
        if self._fed:
            yield from self._decoded(None)
        self.broken += len(self._waiting)
        self._waiting.clear()

    def _decoded(self, packet: Any) -> Iterator[tuple[Stamp, bytes]]:
        try:
            frames = self._context.decode(packet)
        except (FFmpegError, ValueError) as e:
            self.why, self._whole = self.why or str(e), False
            return
        for frame in frames:
            stamp = self._waiting.pop(frame.pts, None)
            if stamp is None or frame.is_corrupt:
                self.broken, self._whole = self.broken + (stamp is not None), False
                continue
            try:
                picture = simplejpeg.encode_jpeg(frame.to_ndarray(format="rgb24"), quality=QUALITY)
            except (FFmpegError, ValueError) as e:
                self.why, self.broken = self.why or str(e), self.broken + 1
                continue
            self.shown += 1
            yield stamp, picture

    @property
    def note(self) -> str:
        """What was done, in words."""
        early = f", {self.early} before the first key frame left out" if self.early else ""
        return f"{self.shown} frames of {self.codec} decoded to JPEG of quality {QUALITY}{early}"

    @property
    def damage(self) -> str | None:
        """What of the video is lost, in words."""
        why = f" ({self.why})" if self.why else ""
        return f"{self.broken} frames of {self.codec} do not decode{why}, left out" if self.broken else None


def _units(data: bytes, codec: str) -> set[int]:
    """The kinds of NAL units at the beginning of a message."""
    first = (m[1][0] for m in _START.finditer(data, 0, _LOOKED_AT))
    return {b & 0x1F if codec == "h264" else (b >> 1) & 0x3F for b in first}
