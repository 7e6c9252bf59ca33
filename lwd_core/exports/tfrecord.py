"""TFRecord files of ``tf.train.Example`` messages, written without TensorFlow.

A record is its length, that length's checksum, the message, its checksum (CRC-32C, masked). A message maps
names to lists of bytes, of float32 or of int64.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

#: What one feature holds: text or bytes one by one, or an array whose numbers are written in C order.
Values = Sequence[bytes] | npt.NDArray[np.float32] | npt.NDArray[np.int64] | npt.NDArray[np.bool_]
#: protobuf's own bound of a message
LARGEST = 2**31 - 1
_POLYNOMIAL = 0x82F63B78
_U32 = 0xFFFFFFFF


def write_record(file: BinaryIO, message: bytes) -> int:
    """Append one record; how many bytes it took."""
    length = struct.pack("<Q", len(message))
    head = length + struct.pack("<I", masked(crc32c(length)))
    file.write(head)
    file.write(message)
    file.write(struct.pack("<I", masked(crc32c(message))))
    return len(head) + len(message) + 4


def example(features: Mapping[str, Values]) -> bytes:
    """A ``tf.train.Example``, its features in the order of their names. Raises ValueError beyond 2 GiB."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(values)))
        for name, values in sorted(features.items())
    )
    message = _field(1, entries)
    if len(message) > LARGEST:
        raise ValueError(f"{len(message):,} bytes, and a message holds 2 GiB at most")
    return message


def _feature(values: Values) -> bytes:
    """bytes_list is field 1, float_list 2, int64_list 3; numbers are packed."""
    if not isinstance(values, np.ndarray):
        return _field(1, b"".join(_field(1, value) for value in values))
    if values.dtype == np.float32:
        return _field(2, _field(1, np.ascontiguousarray(values, "<f4").tobytes()))
    if values.dtype == np.bool_:
        return _field(3, _field(1, np.ascontiguousarray(values, np.uint8).tobytes()))
    return _field(3, _field(1, b"".join(_varint(int(value)) for value in values.reshape(-1))))


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # negative numbers are ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def masked(crc: int) -> int:
    """As TFRecord keeps a checksum: rotated and moved, so that one of data with checksums in it is sound."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _U32


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli).

    The checksum is linear, so the data is cut into lanes that are run side by side, and their states are
    joined by what as many zeros do to a state.
    """
    lanes = min(8192, len(data) // 64)
    state, done = _U32, 0
    if lanes > 1:
        length = len(data) // lanes
        done = lanes * length
        columns = np.frombuffer(data, np.uint8, done).reshape(lanes, length).T.astype(np.uint32)
        states = np.zeros(lanes, np.uint32)
        for column in columns:
            states = _TABLE[(states ^ column) & 0xFF] ^ (states >> np.uint32(8))
        shift = _shift(length)
        for lane in states.tolist():
            shifted = shift[0][state & 0xFF] ^ shift[1][state >> 8 & 0xFF]
            state = shifted ^ shift[2][state >> 16 & 0xFF] ^ shift[3][state >> 24] ^ lane
    for byte in data[done:]:
        state = _LIST[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ _U32


def _shift(length: int) -> list[list[int]]:
    """What that many zero bytes make of each byte of a state, (4, 256)."""
    states = (np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]).reshape(
        -1
    )
    for _ in range(length):
        states = _TABLE[states & 0xFF] ^ (states >> np.uint32(8))
    return states.reshape(4, 256).tolist()


def _table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> np.uint32(1) ^ np.uint32(_POLYNOMIAL), table >> np.uint32(1))
    return table.astype(np.uint32)


_TABLE = _table()
_LIST: list[int] = _TABLE.tolist()
