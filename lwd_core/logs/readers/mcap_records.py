"""MCAP's records: chunks opened and checked, the summary read. Framing only; no topic is known here.

Framing is done here rather than by the reference library's seeking reader, which gives nothing of a
file without footer and wrong data of a flipped bit; records themselves are parsed by the library.
"""

import io
import struct
from dataclasses import dataclass, field
from typing import IO, Any

import lz4.frame
import zstandard
from isal.isal_zlib import crc32
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Metadata, MetadataIndex, Schema, Statistics

from lwd_core.logs.formats import MCAP
from lwd_core.logs.stream import Message

FRAME = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQI")
_FOOTER = struct.Struct("<BQQQI")
_CHUNK_LIMIT = 1 << 31  # a chunk that claims more than 2 GiB is damage, not data


class DamagedRecord(Exception):
    """A record or chunk that is not what it says."""


@dataclass
class Summary:
    """What the end of the file says of the rest."""

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    chunks: dict[int, ChunkIndex] = field(default_factory=dict)
    metadata: list[MetadataIndex] = field(default_factory=list)
    statistics: Statistics | None = None


# what a scan meets: descriptions, or a run of messages
Read = Schema | Channel | Metadata | list[Message]


KINDS: dict[int, Any] = {Opcode.SCHEMA: Schema, Opcode.CHANNEL: Channel, Opcode.METADATA: Metadata}


def message(body: bytes, at: int) -> Message:
    """A message record outside any chunk; ``at`` is its place in the file."""
    if len(body) < _MESSAGE.size:
        raise DamagedRecord(f"message at byte {at} is damaged")
    channel, _, log, publish = _MESSAGE.unpack_from(body)
    return channel, log, publish, body[_MESSAGE.size :]


class Room:
    """Memory that every chunk is read or unpacked into: fresh memory for each costs more than either."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def of(self, size: int) -> memoryview:
        """``size`` bytes; what an earlier call gave is overwritten."""
        if size > len(self._bytes):
            self._bytes = bytearray(size)
        return memoryview(self._bytes)[:size]


def open_chunk(view: memoryview, room: Room) -> tuple[list[Read], bool]:
    """Records of a chunk and whether its checksum vouches for them; whole or not at all.

    Payloads lie in ``room`` and are good until the next chunk is opened there.
    """
    try:
        start, stop, size, crc = _CHUNK.unpack_from(view)
        at = _CHUNK.size
        (n,) = struct.unpack_from("<I", view, at)
        compression = bytes(view[at + 4 : at + 4 + n])
        at += 4 + n
        (stored,) = struct.unpack_from("<Q", view, at)
    except struct.error as e:
        raise DamagedRecord("header is damaged") from e
    packed = view[at + 8 :]
    if stored != len(packed) or size > _CHUNK_LIMIT:
        raise DamagedRecord("sizes in its header are damaged")
    data = _decompress(compression, packed, size, room)
    if len(data) != size:
        raise DamagedRecord(f"{len(data)} bytes where {size} were written")
    if crc and crc32(data) != crc:
        raise DamagedRecord("checksum differs")
    span = None if crc else (start, stop)
    return _walk(data, span), bool(crc)


def _decompress(compression: bytes, packed: memoryview, size: int, room: Room) -> memoryview | bytes:
    try:
        if compression == b"":
            data = room.of(len(packed))
            data[:] = packed
            return data
        if compression == b"zstd":
            if zstandard.frame_content_size(packed) not in (-1, size):
                raise DamagedRecord("its sizes disagree")
            return _unpacked(zstandard.ZstdDecompressor().stream_reader(packed), room.of(size))
        if compression == b"lz4":
            return lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size)
    except (zstandard.ZstdError, RuntimeError, EOFError, ValueError, MemoryError) as e:
        raise DamagedRecord(f"does not decompress ({e})") from e
    raise DamagedRecord(f"compression {compression[:20]!r} is not known")


def _unpacked(reader: zstandard.ZstdDecompressionReader, data: memoryview) -> memoryview:
    """What ``reader`` gives, in ``data``, as far as it goes."""
    end = 0
    while end < len(data) and (read := reader.readinto(data[end:])):
        end += read
    if reader.read(1):
        raise DamagedRecord("holds more than was written")
    return data[:end]


def _walk(data: memoryview | bytes, span: tuple[int, int] | None) -> list[Read]:
    """A chunk's records. Without a checksum, times outside the chunk's ``span`` give damage away."""
    records: list[Read] = []
    run: list[Message] = []
    at, stop, view = 0, len(data), memoryview(data)  # payloads are not copied: most are images
    frame, head = FRAME.unpack_from, _MESSAGE.unpack_from
    while at < stop:
        if at + 9 > stop:
            raise DamagedRecord("its last record is cut")
        opcode, length = frame(data, at)
        at += 9
        end = at + length
        if end > stop:
            raise DamagedRecord("a record reaches beyond its end")
        if opcode == 5:
            if length < 22:
                raise DamagedRecord("a message is cut")
            channel, _, log, publish = head(data, at)
            if span is not None and not span[0] <= log <= span[1]:
                raise DamagedRecord("a message's time lies outside it")
            run.append((channel, log, publish, view[at + 22 : end]))
        elif opcode in KINDS:
            if run:
                records.append(run)
                run = []
            records.append(parse(KINDS[opcode], bytes(view[at:end])))
        at = end
    if run:
        records.append(run)
    return records


def parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.read(ReadDataStream(io.BytesIO(body)))
    except Exception as e:  # the library raises McapError, struct.error, UnicodeDecodeError, …
        raise DamagedRecord(f"a {kind.__name__.lower()} record is damaged") from e


def read_summary(f: IO[bytes], size: int) -> Summary | None:
    """The summary, None where there is no whole footer or the summary's checksum differs."""
    tail = _FOOTER.size + len(MCAP)
    if size < len(MCAP) + tail:
        return None
    f.seek(size - tail)
    ending = f.read(tail)
    if ending[-len(MCAP) :] != MCAP or ending[0] != Opcode.FOOTER:
        return None
    _, length, start, _, crc = _FOOTER.unpack_from(ending)
    footer_at = size - tail
    if length != 20 or start > footer_at:
        return None
    summary = Summary()
    section = b""
    if start:
        f.seek(start)
        section = f.read(footer_at - start)
        if crc and crc32(ending[: _FOOTER.size - 4], crc32(section)) != crc:
            return None
    try:
        _fill(summary, section)
    except DamagedRecord:
        return None
    return summary


def _fill(summary: Summary, section: bytes) -> None:
    at = 0
    while at + FRAME.size <= len(section):
        opcode, length = FRAME.unpack_from(section, at)
        body = section[at + FRAME.size : at + FRAME.size + length]
        at += FRAME.size + length
        if at > len(section):
            raise DamagedRecord("summary is cut")
        if opcode == Opcode.SCHEMA:
            schema = parse(Schema, body)
            summary.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = parse(Channel, body)
            summary.channels[channel.id] = channel
        elif opcode == Opcode.CHUNK_INDEX:
            chunk = parse(ChunkIndex, body)
            summary.chunks[chunk.chunk_start_offset] = chunk
        elif opcode == Opcode.METADATA_INDEX:
            summary.metadata.append(parse(MetadataIndex, body))
        elif opcode == Opcode.STATISTICS:
            summary.statistics = parse(Statistics, body)
