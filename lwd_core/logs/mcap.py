"""MCAP: chunk by chunk, every checksum checked, what is whole kept, what is lost named.

Framing is done here rather than by the reference library's seeking reader, which gives nothing of a
file without footer and wrong data of a flipped bit; records themselves are parsed by the library.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, DataEnd, Metadata, MetadataIndex, Schema, Statistics

from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.decode import Decoder, Encoding, NoDecoder, decoder
from lwd_core.logs.episodes import content_of
from lwd_core.logs.recording import Recorder, Recording
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from storage_schemas.embodiment import Embodiment

MAGIC = b"\x89MCAP0\r\n"
_FRAME = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQI")
_FOOTER = struct.Struct("<BQQQI")
_CHUNK_LIMIT = 1 << 31  # a chunk that claims more than 2 GiB is damage, not data


class _Damaged(Exception):
    """A record or chunk that is not what it says."""


@dataclass
class _Summary:
    """What the end of the file says of the rest."""

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    chunks: dict[int, ChunkIndex] = field(default_factory=dict)
    metadata: list[MetadataIndex] = field(default_factory=list)
    statistics: Statistics | None = None
    data_crc: int = 0


_Message = tuple[int, int, int, Any]  # channel, log time, publish time, payload: made too often for a class
_Read = Schema | Channel | Metadata | list[_Message]


class McapReader:
    """Reads MCAP with protobuf, JSON, ROS 1 and ROS 2 CDR payloads."""

    format = "mcap"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        return head.startswith(MAGIC)

    def survey(self, source: LogSource) -> Survey:
        """Topics and facts, from the summary where it can be trusted, else from the whole file."""
        with source.open() as f:
            scan = _Scan(f, source.size)
            summary = scan.summary
            if summary is None or not summary.channels:
                return _survey_all(scan)
            statistics = summary.statistics
            if statistics is not None and len(summary.metadata) != statistics.metadata_count:
                return _survey_all(scan)
            facts: dict[str, str] = {}
            for place in summary.metadata:
                f.seek(place.offset + _FRAME.size)
                try:
                    facts |= _facts(_parse(Metadata, f.read(place.length - _FRAME.size)))
                except _Damaged:
                    return _survey_all(scan)
            counts = statistics.channel_message_counts if statistics else {}
            return Survey(_topics(summary.channels, summary.schemas, counts), facts)

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The log's episodes. Raises `UnreadableLog` where nothing can be trusted."""
        with source.open() as f:
            return content_of(_record(_Scan(f, source.size), embodiment, frames), embodiment)


def samples(source: LogSource, limit: int) -> Iterator[tuple[str, Encoding, int, bytes]]:
    """Topic, encoding, log time and payload of the first ``limit`` messages."""
    with source.open() as f:
        scan = _Scan(f, source.size)
        for message in scan.messages():
            if scan.count > limit:
                return
            channel = scan.channels[message[0]]
            yield channel.topic, _encoding(channel, scan.schemas), message[1], bytes(message[3])


def _record(scan: "_Scan", embodiment: Embodiment, frames: FrameSink) -> Recording:
    recorder = Recorder(embodiment, frames)
    decoders: dict[int, tuple[str, Decoder] | None] = {}
    for number, log, publish, payload in scan.messages():
        known = decoders.get(number, ...)
        if known is ...:
            channel = scan.channels[number]
            wanted = channel.topic in recorder.topics
            known = (channel.topic, _decoder(_encoding(channel, scan.schemas))) if wanted else None
            decoders[number] = known
        if known is not None:
            topic, decode = known
            recorder.add(topic, log, publish, scan.count - 1, decode, payload)
    return recorder.recording(
        format="mcap",
        messages=scan.count,
        facts=scan.facts,
        messages_lost=scan.lost,
        damage=scan.damage,
    )


def _decoder(encoding: Encoding) -> Decoder:
    try:
        return decoder(encoding)
    except NoDecoder as e:
        reason = str(e)

        def fail(_payload: bytes) -> Any:
            raise NoDecoder(reason)

        return fail


class _Scan:
    """One pass over a file. ``damage`` says what was wrong, in words; ``count`` the messages seen."""

    def __init__(self, f: IO[bytes], size: int) -> None:
        self._file, self._size = f, size
        self.channels: dict[int, Channel] = {}
        self.schemas: dict[int, Schema] = {}
        self.facts: dict[str, str] = {}
        self.damage: list[str] = []
        self.count = 0
        self._ended = False
        self._unchecked = False  # messages were read that no chunk checksum covers
        self.summary = _read_summary(f, size)

    @property
    def lost(self) -> int | None:
        """Messages known to be lost, None where that can't be known."""
        statistics = self.summary.statistics if self.summary else None
        if statistics is not None and statistics.message_count >= self.count:
            return statistics.message_count - self.count
        return None if self.damage else 0

    def messages(self) -> Iterator[_Message]:
        """Every message that can be trusted, in file order; channels and schemas are filled on the way."""
        for read in self._records():
            if isinstance(read, list):
                channels = self.channels
                for message in read:
                    self.count += 1
                    if message[0] in channels:
                        yield message
                    else:
                        self._damaged(f"messages of a channel {message[0]} that is not described")
            elif isinstance(read, Schema):
                self.schemas.setdefault(read.id, read)
            elif isinstance(read, Channel):
                self.channels.setdefault(read.id, read)
            else:
                self.facts |= _facts(read)
        self._close()

    def _close(self) -> None:
        statistics = self.summary.statistics if self.summary else None
        if not self._ended:
            self._damaged("truncated: the file stops before its data ends")
        elif self.summary is None:
            self._damaged("the summary at its end is damaged")
        elif statistics is not None and statistics.message_count != self.count:
            self._damaged(f"{statistics.message_count} messages were written, {self.count} can be read")
        if self._ended and self._unchecked and self.summary is not None and self.summary.data_crc:
            self._check_data_crc(self.summary.data_crc)

    def _check_data_crc(self, expected: int) -> None:
        self._file.seek(0)
        crc, left = 0, self._data_end
        while left > 0 and (block := self._file.read(min(left, 1 << 20))):
            crc, left = zlib.crc32(block, crc), left - len(block)
        if crc != expected:
            raise UnreadableLog("the data section's checksum differs and no chunk checksum tells where")

    def _damaged(self, words: str) -> None:
        if words not in self.damage and len(self.damage) < 8:
            self.damage.append(words)

    def _records(self) -> Iterator[_Read]:
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise UnreadableLog("not an MCAP file")
        indexed = self.summary.chunks if self.summary else {}
        ahead = sorted(indexed, reverse=True)
        at = len(MAGIC)
        while True:
            while ahead and ahead[-1] < at:
                ahead.pop()
            self._file.seek(at)
            frame = self._file.read(_FRAME.size)
            if len(frame) < _FRAME.size:
                return
            opcode, length = _FRAME.unpack(frame)
            end = at + _FRAME.size + length
            if at in indexed:  # the index knows a chunk's length better than a damaged frame
                opcode, end = int(Opcode.CHUNK), at + indexed[at].chunk_length
            beyond = end > self._size or opcode == 0 or (ahead and at < ahead[-1] < end)
            if beyond:
                self._damaged(f"record at byte {at} is damaged or cut")
                if not ahead or ahead[-1] <= at:
                    return
                at = ahead[-1]
                continue
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                self._ended, self._data_end = True, at
                return
            try:
                yield from self._record(opcode, at, end)
            except _Damaged as e:
                self._damaged(str(e))
            at = end

    def _record(self, opcode: int, at: int, end: int) -> Iterator[_Read]:
        if opcode == Opcode.CHUNK:
            yield from self._chunk(self._file.read(end - at - _FRAME.size), at)
        elif opcode == Opcode.MESSAGE:
            body = self._file.read(end - at - _FRAME.size)
            if len(body) < _MESSAGE.size:
                raise _Damaged(f"message at byte {at} is damaged")
            channel, _, log, publish = _MESSAGE.unpack_from(body)
            self._unchecked = True
            yield [(channel, log, publish, body[_MESSAGE.size :])]
        elif opcode in _KINDS:
            yield _parse(_KINDS[opcode], self._file.read(end - at - _FRAME.size))
        elif Opcode.DATA_END < opcode < 0x80:  # the standard's own range, from 0x80 on records are private
            raise _Damaged(f"record at byte {at} is of no known kind")

    def _chunk(self, body: bytes, at: int) -> Iterator[_Read]:
        try:
            records, checked = _open_chunk(body)
        except _Damaged as e:
            raise _Damaged(f"chunk at byte {at}: {e}") from e
        self._unchecked |= not checked
        yield from records


_KINDS: dict[int, Any] = {Opcode.SCHEMA: Schema, Opcode.CHANNEL: Channel, Opcode.METADATA: Metadata}


def _open_chunk(body: bytes) -> tuple[list[_Read], bool]:
    """Records of a chunk and whether its checksum vouches for them; whole or not at all."""
    view = memoryview(body)
    try:
        start, stop, size, crc = _CHUNK.unpack_from(view)
        at = _CHUNK.size
        (n,) = struct.unpack_from("<I", view, at)
        compression = bytes(view[at + 4 : at + 4 + n])
        at += 4 + n
        (stored,) = struct.unpack_from("<Q", view, at)
    except struct.error as e:
        raise _Damaged("header is damaged") from e
    packed = view[at + 8 :]
    if stored != len(packed) or size > _CHUNK_LIMIT:
        raise _Damaged("sizes in its header are damaged")
    data = _decompress(compression, packed, size)
    if len(data) != size:
        raise _Damaged(f"{len(data)} bytes where {size} were written")
    if crc and zlib.crc32(data) != crc:
        raise _Damaged("checksum differs")
    span = None if crc else (start, stop)
    return _walk(data, span), bool(crc)


def _decompress(compression: bytes, packed: memoryview, size: int) -> bytes:
    try:
        if compression == b"":
            return bytes(packed)
        if compression == b"zstd":
            if zstandard.frame_content_size(packed) not in (-1, size):
                raise _Damaged("its sizes disagree")
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        if compression == b"lz4":
            return lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size)
    except (zstandard.ZstdError, RuntimeError, EOFError, ValueError, MemoryError) as e:
        raise _Damaged(f"does not decompress ({e})") from e
    raise _Damaged(f"compression {compression[:20]!r} is not known")


def _walk(data: bytes, span: tuple[int, int] | None) -> list[_Read]:
    """A chunk's records. Without a checksum, times outside the chunk's ``span`` give damage away."""
    records: list[_Read] = []
    run: list[_Message] = []
    at, stop, view = 0, len(data), memoryview(data)  # payloads are not copied: most are images
    frame, head = _FRAME.unpack_from, _MESSAGE.unpack_from
    while at < stop:
        if at + 9 > stop:
            raise _Damaged("its last record is cut")
        opcode, length = frame(data, at)
        at += 9
        end = at + length
        if end > stop:
            raise _Damaged("a record reaches beyond its end")
        if opcode == 5:
            if length < 22:
                raise _Damaged("a message is cut")
            channel, _, log, publish = head(data, at)
            if span is not None and not span[0] <= log <= span[1]:
                raise _Damaged("a message's time lies outside it")
            run.append((channel, log, publish, view[at + 22 : end]))
        elif opcode in _KINDS:
            if run:
                records.append(run)
                run = []
            records.append(_parse(_KINDS[opcode], data[at:end]))
        at = end
    if run:
        records.append(run)
    return records


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.read(ReadDataStream(io.BytesIO(body)))
    except Exception as e:  # the library raises McapError, struct.error, UnicodeDecodeError, …
        raise _Damaged(f"a {kind.__name__.lower()} record is damaged") from e


def _read_summary(f: IO[bytes], size: int) -> _Summary | None:
    """The summary, None where there is no whole footer or the summary's checksum differs."""
    tail = _FOOTER.size + len(MAGIC)
    if size < len(MAGIC) + tail:
        return None
    f.seek(size - tail)
    ending = f.read(tail)
    if ending[-len(MAGIC) :] != MAGIC or ending[0] != Opcode.FOOTER:
        return None
    _, length, start, _, crc = _FOOTER.unpack_from(ending)
    footer_at = size - tail
    if length != 20 or start > footer_at:
        return None
    summary = _Summary()
    section = b""
    if start:
        f.seek(start)
        section = f.read(footer_at - start)
        if crc and zlib.crc32(ending[: _FOOTER.size - 4], zlib.crc32(section)) != crc:
            return None
    try:
        _fill(summary, section)
        end_of_data = (start or footer_at) - _FRAME.size - 4
        f.seek(max(0, end_of_data))
        record = f.read(_FRAME.size + 4)
        if record[0] == Opcode.DATA_END:
            summary.data_crc = _parse(DataEnd, record[_FRAME.size :]).data_section_crc
    except (_Damaged, IndexError):
        return None
    return summary


def _fill(summary: _Summary, section: bytes) -> None:
    at = 0
    while at + _FRAME.size <= len(section):
        opcode, length = _FRAME.unpack_from(section, at)
        body = section[at + _FRAME.size : at + _FRAME.size + length]
        at += _FRAME.size + length
        if at > len(section):
            raise _Damaged("summary is cut")
        if opcode == Opcode.SCHEMA:
            schema = _parse(Schema, body)
            summary.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = _parse(Channel, body)
            summary.channels[channel.id] = channel
        elif opcode == Opcode.CHUNK_INDEX:
            chunk = _parse(ChunkIndex, body)
            summary.chunks[chunk.chunk_start_offset] = chunk
        elif opcode == Opcode.METADATA_INDEX:
            summary.metadata.append(_parse(MetadataIndex, body))
        elif opcode == Opcode.STATISTICS:
            summary.statistics = _parse(Statistics, body)


def _facts(metadata: Metadata) -> dict[str, str]:
    return {str(k): str(v) for k, v in metadata.metadata.items()}


def _encoding(channel: Channel, schemas: dict[int, Schema]) -> Encoding:
    schema = schemas.get(channel.schema_id)
    if schema is None:
        return Encoding(channel.message_encoding, "", "", b"")
    return Encoding(channel.message_encoding, schema.encoding, schema.name, schema.data)


def _topics(channels: dict[int, Channel], schemas: dict[int, Schema], counts: Any) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    for channel in channels.values():
        encoding = _encoding(channel, schemas)
        before = topics[channel.topic].messages if channel.topic in topics else 0
        topics[channel.topic] = Topic(
            encoding.name, encoding.message, (before or 0) + int(counts.get(channel.id, 0))
        )
    return topics


def _survey_all(scan: _Scan) -> Survey:
    counts: dict[int, int] = {}
    for message in scan.messages():
        counts[message[0]] = counts.get(message[0], 0) + 1
    return Survey(_topics(scan.channels, scan.schemas, counts), scan.facts)
