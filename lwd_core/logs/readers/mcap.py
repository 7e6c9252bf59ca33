"""MCAP: chunk by chunk, every checksum checked, what is whole kept, what is lost named."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from isal.isal_zlib import crc32
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata, Schema

from lwd_core.logs import stream
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.decode import Encoding
from lwd_core.logs.episodes import content_of
from lwd_core.logs.formats import MCAP, is_mcap
from lwd_core.logs.readers.mcap_records import (
    FRAME,
    KINDS,
    DamagedRecord,
    Read,
    Room,
    message,
    open_chunk,
    parse,
    read_summary,
)
from lwd_core.logs.source import LogSource
from lwd_core.logs.stream import Message, MessageStream
from lwd_core.logs.survey import Survey
from storage_schemas.embodiment import Embodiment

_FACT_LIMIT = 1000  # longer texts are documents (rosbag2 writes its whole metadata.yaml), not facts


class McapReader:
    """Reads MCAP with protobuf, JSON, ROS 1 and ROS 2 CDR payloads."""

    format = "mcap"

    recognises = staticmethod(is_mcap)

    def survey(self, source: LogSource) -> Survey:
        """Topics and facts, from the summary where it can be trusted, else from the whole file."""
        with source.open() as f:
            scan = McapScan(f, source.size)
            return scan.contents() or stream.survey(scan)

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The log's episodes. Raises `UnreadableLog` where nothing can be trusted."""
        with source.open() as f:
            return content_of(
                stream.record(McapScan(f, source.size), embodiment, frames, self.format), embodiment
            )

    @contextmanager
    def stream(self, source: LogSource) -> Iterator[MessageStream]:
        """The messages themselves."""
        with source.open() as f:
            yield McapScan(f, source.size)


class McapScan:
    """One pass over a file. ``damage`` says what was wrong, in words; ``count`` the messages seen."""

    def __init__(self, f: BufferedReader, size: int) -> None:
        self._file, self._size = f, size
        self.channels: dict[int, tuple[str, Encoding]] = {}
        self.facts: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.damage: list[str] = []
        self.count = 0
        self._packed, self._unpacked = Room(), Room()
        self._schemas: dict[int, Schema] = {}
        self._data_end: int | None = None
        self._unchecked = False  # messages were read that no chunk checksum covers
        self._summary = read_summary(f, size)
        if self._summary:  # it describes channels whose own chunk may be lost
            self._schemas |= self._summary.schemas
            for channel in self._summary.channels.values():
                if channel.schema_id in (0, *self._schemas):
                    self._describe(channel)

    def contents(self) -> Survey | None:
        """Topics and facts as the summary has them, None where it hasn't them all."""
        summary = self._summary
        if summary is None or not summary.channels or summary.statistics is None:
            return None
        statistics = summary.statistics
        if len(summary.metadata) != statistics.metadata_count or len(summary.channels) != len(self.channels):
            return None
        for place in summary.metadata:
            self._file.seek(place.offset + FRAME.size)
            try:
                self._describe(parse(Metadata, self._file.read(max(0, place.length - FRAME.size))))
            except DamagedRecord:
                return None
        return Survey(stream.topics(self.channels, statistics.channel_message_counts), self.facts)

    def _describe(self, read: Schema | Channel | Metadata) -> None:
        if isinstance(read, Schema):
            self._schemas.setdefault(read.id, read)
        elif isinstance(read, Channel):
            schema = self._schemas.get(read.schema_id)
            kind = (schema.encoding, schema.name, schema.data) if schema else ("", "", b"")
            self.channels.setdefault(read.id, (read.topic, Encoding(read.message_encoding, *kind)))
        else:
            said = {k: v for k, v in read.metadata.items() if len(v) <= _FACT_LIMIT}
            self.facts |= said
            self.records |= {f"{read.name}.{k}": v for k, v in said.items()}

    @property
    def lost(self) -> int | None:
        """Messages known to be lost, None where that can't be known."""
        statistics = self._summary.statistics if self._summary else None
        if statistics is not None and statistics.message_count >= self.count:
            return statistics.message_count - self.count
        return None if self.damage else 0

    def messages(self) -> Iterator[Message]:
        """Every message that can be trusted, in file order; channels and schemas are filled on the way."""
        for read in self._records():
            if isinstance(read, list):
                channels = self.channels
                for one in read:
                    self.count += 1
                    if one[0] in channels:
                        yield one
                    else:
                        self._damaged(f"messages of a channel {one[0]} that is not described")
            else:
                self._describe(read)
        self._close()

    def _close(self) -> None:
        statistics = self._summary.statistics if self._summary else None
        if self._data_end is None:
            self._damaged("truncated: the file stops before its data ends")
        elif self._summary is None:
            self._damaged("the summary at its end is damaged")
        elif statistics is not None and statistics.message_count != self.count:
            self._damaged(f"{statistics.message_count} messages were written, {self.count} can be read")
        if self._data_end and self._unchecked:
            self._check_data_crc(self._data_end)
        elif self._unchecked and self._closed():
            raise UnreadableLog("damaged inside, and no chunk checksum tells which messages are right")

    def _closed(self) -> bool:
        """Whether the recorder finished the file: then what is missing is damage, not truncation."""
        self._file.seek(max(0, self._size - len(MCAP)))
        return self._file.read(len(MCAP)) == MCAP

    def _check_data_crc(self, end: int) -> None:
        self._file.seek(end + FRAME.size)
        expected = int.from_bytes(self._file.read(4), "little")
        if not expected:  # not written
            return
        self._file.seek(0)
        crc, left = 0, end
        while left > 0 and (block := self._file.read(min(left, 1 << 20))):
            crc, left = crc32(block, crc), left - len(block)
        if crc != expected:
            raise UnreadableLog("the data section's checksum differs and no chunk checksum tells where")

    def _damaged(self, words: str) -> None:
        if words not in self.damage and len(self.damage) < 8:
            self.damage.append(words)

    def _records(self) -> Iterator[Read]:
        self._file.seek(0)
        if self._file.read(len(MCAP)) != MCAP:
            raise UnreadableLog("not an MCAP file")
        indexed = self._summary.chunks if self._summary else {}
        ahead = sorted(indexed, reverse=True)
        at = len(MCAP)
        while True:
            while ahead and ahead[-1] < at:
                ahead.pop()
            self._file.seek(at)
            frame = self._file.read(FRAME.size)
            if len(frame) < FRAME.size:
                return
            opcode, length = FRAME.unpack(frame)
            end = at + FRAME.size + length
            if at in indexed:  # the index knows a chunk's length better than a damaged frame
                opcode, end = int(Opcode.CHUNK), at + max(FRAME.size, indexed[at].chunk_length)
            final = opcode == Opcode.DATA_END and length == 4
            missed = bool(ahead) and (at < ahead[-1] < end or (final and at < ahead[-1]))
            if end > self._size or opcode == 0 or missed:
                self._damaged(f"record at byte {at} is damaged or cut")
                if not ahead or ahead[-1] <= at:
                    return
                at = ahead[-1]
                continue
            if final:
                self._data_end = at
                return
            try:
                yield from self._record(opcode, at, end)
            except DamagedRecord as e:
                self._damaged(str(e))
            at = end

    def _record(self, opcode: int, at: int, end: int) -> Iterator[Read]:
        if opcode == Opcode.CHUNK:
            yield from self._chunk(end - at - FRAME.size, at)
        elif opcode == Opcode.MESSAGE:
            self._unchecked = True
            yield [message(self._file.read(end - at - FRAME.size), at)]
        elif opcode in KINDS:
            yield parse(KINDS[opcode], self._file.read(end - at - FRAME.size))
        elif Opcode.DATA_END < opcode < 0x80:  # the standard's own range, from 0x80 on records are private
            raise DamagedRecord(f"record at byte {at} is of no known kind")

    def _chunk(self, length: int, at: int) -> Iterator[Read]:
        view = self._packed.of(length)
        try:
            records, checked = open_chunk(view[: self._file.readinto(view)], self._unpacked)
        except DamagedRecord as e:
            raise DamagedRecord(f"chunk at byte {at}: {e}") from e
        self._unchecked |= not checked
        yield from records
