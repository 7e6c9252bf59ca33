"""Camera messages: the bytes of a compressed image as they are; raw pixels become a JPEG."""

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
_VIDEO = frozenset({"h264", "h265", "hevc", "vp9", "av1"})


def image(path: str) -> Callable[[Any], bytes]:
    """A function that takes the image at ``path`` from a message, encoded.

    It raises `FieldMissing` for what is no image by itself: a frame of a video, depth.
    """
    get = fields.getter(path)
    size = [fields.getter(name) for name in ("height", "width", "step", "encoding")]
    video_format = fields.getter("format")
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
            if _said(video_format, message) in _VIDEO:
                raise fields.FieldMissing("frames of a video are no images by themselves") from None
            return bytes(data)
        return _encoded(data, int(height), int(width), int(step), str(encoding))

    return take


def video_format(message: Any) -> str | None:
    """The codec, where a message is a frame of a video: ``h264`` or ``hevc``."""
    for name in ("format", "encoding"):
        said = _said(fields.getter(name), message)
        for word, codec in (("h264", "h264"), ("h265", "hevc"), ("hevc", "hevc")):
            if word in said:
                return codec
    return None


def _said(get: fields.Getter, message: Any) -> str:
    try:
        return str(get(message)).lower()
    except fields.FieldMissing:
        return ""


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
