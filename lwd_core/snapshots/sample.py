"""One episode as the bytes of one safetensors file, and back.

The safetensors library orders metadata by a random hash; a digest needs one order. So the
header is written here, sorted by name, in the published format: 8 bytes little-endian header
length, JSON header padded with spaces to 8 bytes, then the tensors.
"""

import json
import struct
from collections.abc import Mapping

import numpy as np

_NAMES = {"float32": "F32", "int32": "I32", "int64": "I64", "bool": "BOOL"}
_DTYPES = {name: np.dtype(dtype) for dtype, name in _NAMES.items()}


def encode(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The safetensors bytes of the tensors; equal tensors give equal bytes.

    Tensors are laid out by falling item size, then by name, so that each is aligned.
    """
    header: dict[str, dict] = {}
    parts: list[bytes] = []
    end = 0
    for name in sorted(tensors, key=lambda n: (-tensors[n].itemsize, n)):
        data = np.ascontiguousarray(tensors[name]).tobytes()
        begin, end = end, end + len(data)
        header[name] = {
            "dtype": _NAMES[tensors[name].dtype.name],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((struct.pack("<Q", len(text)), text, *parts))


def decode(data: memoryview) -> dict[str, np.ndarray]:
    """Views into ``data``, nothing copied. ValueError if the header lies about the bytes."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(bytes(data[8 : 8 + length]))
        body = data[8 + length :]
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(body[begin:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return tensors
    except (struct.error, KeyError, TypeError, AttributeError, json.JSONDecodeError) as e:
        raise ValueError(f"no safetensors sample: {e}") from e
