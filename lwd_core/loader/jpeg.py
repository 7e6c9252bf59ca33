"""One picture into given memory: the same way for learning and for acting."""

import numpy as np
import simplejpeg

_FAST = {"colorspace": "RGB", "fastdct": True, "fastupsample": True}


def decode_frame(data: bytes, out: np.ndarray) -> None:
    """A JPEG into ``out`` (height, width, 3) u8, RGB: decoded at a scale that covers it, then sampled.

    ValueError if it is none.
    """
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    if (height, width) == out.shape[:2]:
        simplejpeg.decode_jpeg(data, buffer=out, **_FAST)
        return
    scale_frame(simplejpeg.decode_jpeg(data, min_height=out.shape[0], min_width=out.shape[1], **_FAST), out)


def scale_frame(image: np.ndarray, out: np.ndarray) -> None:
    """A picture (h, w, 3) u8 sampled to ``out`` (height, width, 3) at the middle of its pixels."""
    rows = (np.arange(out.shape[0]) * 2 + 1) * image.shape[0] // (2 * out.shape[0])
    columns = (np.arange(out.shape[1]) * 2 + 1) * image.shape[1] // (2 * out.shape[1])
    out[...] = image[rows[:, None], columns]
