"""Frames as pixels for people to look at: one that can't be shown is a card in its place, and is counted.

Not for learning, which must know of every frame that is damaged, nor show it anything in its place.
"""

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import av
import numpy as np
import simplejpeg
from av.error import FFmpegError

from lwd_core.lake.frames import SIGNATURES, jpeg_size, read_frame
from lwd_core.storage.location import Location

#: Larger pictures are lies or bombs: 64 megapixels are twice an 8K frame.
MOST_PIXELS = 64_000_000
WORDS = "a frame that can't be shown"
_JPEG = next(iter(SIGNATURES))


def decoded(data: bytes) -> np.ndarray | None:
    """A JPEG, PNG or WebP as (height, width, 3) u8, RGB; None where it is damaged, or none of them."""
    try:
        if data.startswith(_JPEG):
            height, width = jpeg_size(data)
            return simplejpeg.decode_jpeg(data) if height * width <= MOST_PIXELS else None
        if not data.startswith(tuple(SIGNATURES)):
            return None
        with av.open(io.BytesIO(data), "r") as container:  # PNG and WebP, as FFmpeg reads them
            codec = container.streams.video[0].codec_context
            if codec.width * codec.height > MOST_PIXELS:
                return None
            return next(container.decode(video=0)).to_ndarray(format="rgb24")
    except (ValueError, StopIteration, IndexError, FFmpegError, MemoryError):
        return None


def size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a frame's bytes, a JPEG's from its head alone; None where it is no picture."""
    if not data.startswith(_JPEG):
        picture = decoded(data)
        return None if picture is None else (picture.shape[0], picture.shape[1])
    try:
        height, width = jpeg_size(data)
    except ValueError:
        return None
    return (height, width) if height * width <= MOST_PIXELS else None


@cache
def card(height: int = 240, width: int = 320) -> np.ndarray:
    """What stands for a frame that can't be shown: grey, crossed out. (height, width, 3) u8."""
    rows, columns = np.ogrid[:height, :width]
    along, across = columns * height, rows * width
    thick = 2 * max(height, width)
    crossed = (abs(along - across) < thick) | (abs(along + across - height * width) < thick)
    picture = np.where(crossed[..., None], np.uint8(90), np.uint8(170)).repeat(3, axis=2)
    picture.setflags(write=False)
    return picture


class Pictures:
    """Frames of one lake. ``failed`` counts those asked for that can't be shown."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self.failed = 0

    def bytes_of(self, frame: Mapping[str, Any]) -> bytes:
        """A frame's bytes; none where its shard doesn't give them."""
        try:
            return read_frame(self._place, frame)
        except (OSError, ValueError):
            return b""

    def pixels(self, data: bytes) -> np.ndarray | None:
        """A frame's bytes as pixels; None, and counted, where they can't be shown."""
        picture = decoded(data)
        self.failed += picture is None
        return picture

    def shown(self, data: bytes) -> bytes:
        """A frame's bytes as they are, the card's where they can't be shown."""
        if self.pixels(data) is not None:
            return data
        return simplejpeg.encode_jpeg(np.ascontiguousarray(card()))


def fitted(picture: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """A picture of exactly this size: cut, or filled with black; the card where there is none."""
    if picture is None:
        return card(height, width)
    if picture.shape[:2] == (height, width):
        return picture
    whole = np.zeros((height, width, 3), np.uint8)
    part = picture[:height, :width]
    whole[: part.shape[0], : part.shape[1]] = part
    return whole
