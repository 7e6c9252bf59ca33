"""What is inside a file of a landing zone: payloads of messages, arrays, whatever was packed.

A proof of absence reads formats as they are and trusts no reader's mapping. What can't be opened is said.
"""

import bz2
import gzip
import lzma
import sqlite3
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import zstandard

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.readers.mcap import McapReader
from lwd_core.logs.readers.rosbag1 import Rosbag1Reader
from lwd_core.logs.source import LogSource

BLOCK = 8 * 2**20
OVERLAP = 4096  # a run of numbers is shorter
SMALL = 64 * 1024  # no vector of states is longer; a longer message is a picture or a cloud
RATIO, ROOM = 1000, 2**30  # more than that inside a small file is no log


class Long(bytes):
    """A message too long to be a vector of states: a picture, a cloud, a text."""


Content = bytes | np.ndarray


class Blind(Exception):
    """What the file holds can't be seen; the text says why."""


def inside(path: str) -> Iterator[Content]:
    """Pieces of a file's content, decoded as far as its format packs them: bytes, and float arrays (N,).

    Nothing for a file that is what it is; its plain bytes are not repeated. Raises ``Blind``.
    """
    source = LogSource(path)
    with source.open() as stream:
        head = stream.read(512)
    opened = next((opener for mark, opener in _OPENERS if head[mark[0] :].startswith(mark[1])), None)
    if opened is None:
        return
    budget = RATIO * source.size + ROOM
    try:
        for piece in opened(source):
            budget -= piece.nbytes if isinstance(piece, np.ndarray) else len(piece)
            if budget < 0:
                raise Blind("more is packed into it than a log holds")
            yield piece
    except Blind:
        raise
    except UnreadableLog as error:
        raise Blind(str(error)) from error
    except Exception as error:  # a file nobody foresaw must not stop the search
        raise Blind(f"can't be opened ({type(error).__name__}: {error})") from error


def _messages(reader: Any) -> Any:
    def opened(source: LogSource) -> Iterator[bytes]:
        with reader.stream(source) as stream:
            yield from _joined(bytes(payload) for _, _, _, payload in stream.messages())
            if stream.damage:
                raise Blind(f"damaged, not all of it was seen: {stream.damage[0]}")

    return opened


def _joined(payloads: Iterator[bytes]) -> Iterator[bytes]:
    """Small payloads many at once, apart from each other; long ones as they are."""
    held: list[bytes] = []
    size = 0
    for payload in payloads:
        if len(payload) > SMALL:
            yield Long(payload)
            continue
        held.append(payload)
        size += len(payload) + 16
        if size > BLOCK:
            yield bytes(16).join(held)
            held, size = [], 0
    if held:
        yield bytes(16).join(held)


def _sqlite(source: LogSource) -> Iterator[bytes]:
    with source.on_disk() as path:
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            kinds = dict(base.execute("SELECT name, type FROM sqlite_master"))
            if kinds.get("messages") != "table":
                raise Blind("a database without a table of messages")
            yield from _joined(bytes(row[0]) for row in base.execute("SELECT data FROM messages") if row[0])
        finally:
            base.close()


def _hdf5(source: LogSource) -> Iterator[Content]:
    with source.on_disk() as path, h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            data = file[name]
            if isinstance(data, h5py.Dataset) and not data.is_virtual and not data.external:
                yield from _array(data)


def _array(data: h5py.Dataset) -> Iterator[Content]:
    if not data.shape:
        if data.dtype.kind in "OS":
            yield repr(data[()]).encode()
        return
    rows = max(1, BLOCK // max(1, data.dtype.itemsize * int(np.prod(data.shape[1:], dtype=np.int64))))
    for start in range(0, data.shape[0], rows):
        piece = data[start : start + rows]
        yield _floats(piece) if piece.dtype.kind == "f" else Long(piece.tobytes())


def _floats(values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.reshape(-1).astype(np.float32)


def _zip(source: LogSource) -> Iterator[Content]:
    with source.open() as stream, zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise Blind("encrypted")
            with archive.open(member) as packed:
                if member.filename.endswith(".npy") and member.file_size <= ROOM:
                    values = np.lib.format.read_array(packed, allow_pickle=False)
                    yield _floats(values) if values.dtype.kind == "f" else Long(values.tobytes())
                else:
                    yield from blocks(packed)


def _packed(unpack: Any) -> Any:
    def opened(source: LogSource) -> Iterator[bytes]:
        with source.open() as stream, unpack(stream) as plain:
            yield from blocks(plain)

    return opened


def _zstd(stream: Any) -> Any:
    return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)


def blocks(stream: Any) -> Iterator[bytes]:
    """The bytes of a stream; each block begins with the end of the one before."""
    tail = b""
    while block := stream.read(BLOCK):
        yield tail + block
        tail = (tail + block)[-OVERLAP:]


def _video(_source: LogSource) -> Iterator[bytes]:
    raise Blind("video: its pictures are coded and can't be searched")


_OPENERS = (
    ((0, b"\x89MCAP0\r\n"), _messages(McapReader())),
    ((0, b"#ROSBAG V2.0"), _messages(Rosbag1Reader())),
    ((0, b"SQLite format 3\0"), _sqlite),
    ((0, b"\x89HDF\r\n\x1a\n"), _hdf5),
    ((0, b"PK\x03\x04"), _zip),
    ((0, b"\x1f\x8b"), _packed(gzip.open)),
    ((0, b"BZh"), _packed(bz2.open)),
    ((0, b"\xfd7zXZ\0"), _packed(lzma.open)),
    ((0, b"\x28\xb5\x2f\xfd"), _packed(_zstd)),
    ((4, b"ftyp"), _video),
    ((0, b"\x1aE\xdf\xa3"), _video),
)
