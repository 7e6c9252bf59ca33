import base64
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg

from lwd_core.logs.fields import FieldMissing
from lwd_core.logs.images import image


def raw(encoding: str, channels: int, padding: int = 0) -> SimpleNamespace:
    """A picture whose left half is the first channel at its brightest."""
    pixels = np.zeros((16, 32, channels), dtype=np.uint8)
    pixels[:, :16, 0] = 250
    rows = np.pad(pixels.reshape(16, -1), ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        height=16, width=32, step=32 * channels + padding, encoding=encoding, data=rows.tobytes()
    )


def test_compressed_images_keep_their_bytes():
    assert image("data")(SimpleNamespace(format="jpeg", data=b"\xff\xd8x")) == b"\xff\xd8x"
    text = base64.b64encode(b"\xff\xd8y").decode()
    assert image("image.data")({"image": {"data": text}}) == b"\xff\xd8y"


@pytest.mark.parametrize(
    ("encoding", "channels", "bright"), [("rgb8", 3, 0), ("bgr8", 3, 2), ("mono8", 1, 0), ("bgra8", 4, 2)]
)
@pytest.mark.parametrize("padding", [0, 5])
def test_raw_pixels_become_a_jpeg_of_the_same_picture(
    encoding: str, channels: int, bright: int, padding: int
):
    picture = simplejpeg.decode_jpeg(image("data")(raw(encoding, channels, padding)))
    assert picture.shape == (16, 32, 3)
    assert picture[:, :12, bright].mean() > 230
    assert picture[:, 20:].mean() < 20


def test_what_is_no_image_is_left_out_by_name():
    with pytest.raises(FieldMissing, match="16UC1"):
        image("data")(raw("16UC1", 2))
    with pytest.raises(FieldMissing, match="video"):
        image("data")(SimpleNamespace(format="h264", data=b"\0\0\0\1"))
    short = raw("rgb8", 3)
    short.data = short.data[:-1]
    with pytest.raises(FieldMissing, match="smaller"):
        image("data")(short)
