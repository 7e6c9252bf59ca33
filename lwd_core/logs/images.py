"""Camera messages: the bytes of a compressed image as they are; raw pixels become a JPEG.

A frame of a video is told apart here and decoded in `footage`.
"""

import base64
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numpy as np
import simplejpeg

from lwd_core.logs import fields
from lwd_core.logs.video import QUALITY

# encodings of sensor_msgs/Image and foxglove.RawImage: channels, and simplejpeg's name of their order
_RAW = {
    "rgb8": (3, "RGB"),
    "bgr8": (3, "BGR"),
    "rgba8": (4, "RGBA"),
    "bgra8": (4, "BGRA"),
    "mono8": (1, "GRAY"),
    "8UC1": (1, "GRAY"),
    "8UC3": (3, "BGR"),
}
_STILL = frozenset({"jpeg", "jpg", "png", "webp"})
_CODECS = {"h264": "h264", "x264": "h264", "h265": "hevc", "x265": "hevc", "hevc": "hevc"}


class VideoFrame(fields.FieldMissing):
    """The message is no picture by itself but a frame of a video; ``codec`` is h264 or hevc."""

    def __init__(self, codec: str, data: bytes) -> None:
        super().__init__("frames of a video are no images by themselves")
        self.codec, self.data = codec, data


def image(path: str) -> Callable[[Any], bytes]:
    """A function that takes the image at ``path`` from a message, encoded.

    It raises `VideoFrame` for a frame of a video, `FieldMissing` for what is no picture: depth.
    """
    get = fields.getter(path)
    size = [fields.getter(name) for name in ("height", "width", "step", "encoding")]
    sizeless: WeakSet[type] = WeakSet()  # message classes that have no height: compressed images

    def take(message: Any) -> bytes:
        data = get(message)
        if isinstance(data, bytes) and type(message) in sizeless and message.format in _STILL:
            return data
        if isinstance(data, str):  # JSON has no bytes
            data = base64.b64decode(data, validate=True)
        try:
            height, width, step, encoding = (read(message) for read in size)
        except fields.FieldMissing:
            if not isinstance(message, dict) and hasattr(message, "format"):
                sizeless.add(type(message))
            if codec := video_format(message):
                raise VideoFrame(codec, bytes(data)) from None
            said = _said("format", message)
            if said in ("vp9", "av1") or "compresseddepth" in said:
                raise fields.FieldMissing(f"pictures of format {said!r} are not read") from None
            return bytes(data)
        return _encoded(data, int(height), int(width), int(step), str(encoding))

    return take


def video_format(message: Any) -> str | None:
    """The codec, where a message is a frame of a video: ``h264`` or ``hevc``."""
    said = f"{_said('format', message)} {_said('encoding', message)}"
    return next((codec for word, codec in _CODECS.items() if word in said), None)


def _said(name: str, message: Any) -> str:
    found = message.get(name) if isinstance(message, dict) else getattr(message, name, None)
    return str(found or "").lower()


def _encoded(data: Any, height: int, width: int, step: int, encoding: str) -> bytes:
    if encoding not in _RAW:
        raise fields.FieldMissing(f"raw images of encoding {encoding!r} are not known")
    channels, order = _RAW[encoding]
    step = step or width * channels
    pixels = np.frombuffer(bytes(data), dtype=np.uint8)
    if step < width * channels or len(pixels) < height * step:
        raise fields.FieldMissing("an image smaller than it says")
    rows = pixels[: height * step].reshape(height, step)[:, : width * channels]
    picture = np.ascontiguousarray(rows.reshape(height, width, channels))
    return simplejpeg.encode_jpeg(picture, quality=QUALITY, colorspace=order)
