"""ROS 1 bags, record by record, so that a bag without index or with a damaged chunk gives the rest.

Bags carry no checksums: damage shows where a record, a size or a time contradicts another.
"""

import bz2
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import lz4.frame

from lwd_core.logs import stream
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.decode import Encoding
from lwd_core.logs.episodes import content_of
from lwd_core.logs.formats import is_rosbag1
from lwd_core.logs.source import LogSource
from lwd_core.logs.stream import Message, MessageStream
from lwd_core.logs.survey import Survey
from storage_schemas.embodiment import Embodiment

MAGIC = b"#ROSBAG V2.0\n"
_U32, _U64, _TIME = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<II")
_MESSAGE, _BAG, _CHUNK, _INFO, _CONNECTION = 2, 3, 5, 6, 7
_CHUNK_LIMIT = 1 << 31


class _Damaged(Exception):
    """A record that is not what it says."""


class Rosbag1Reader:
    """Reads ROS 1 bags, format 2.0, in any compression."""

    format = "rosbag1"

    recognises = staticmethod(is_rosbag1)

    def survey(self, source: LogSource) -> Survey:
        """Topics, from the index where there is one."""
        with self.stream(source) as scan:
            return stream.survey(scan)

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The bag's episodes. Raises `UnreadableLog` where nothing can be read."""
        with self.stream(source) as scan:
            return content_of(stream.record(scan, embodiment, frames, self.format), embodiment)

    @contextmanager
    def stream(self, source: LogSource) -> Iterator[MessageStream]:
        """The messages themselves."""
        with source.open() as f:
            yield _Scan(f, source.size)


class _Scan:
    """One pass over a bag."""

    def __init__(self, f: IO[bytes], size: int) -> None:
        self._file, self._size = f, size
        self.channels: dict[int, tuple[str, Encoding]] = {}
        self.facts: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.damage: list[str] = []
        self.count = 0
        self._spans: dict[int, tuple[int, int]] = {}  # by chunk position: its first and last time
        self._written: int | None = None

    @property
    def lost(self) -> int | None:
        if self._written is not None and self._written >= self.count:
            return self._written - self.count
        return None if self.damage else 0

    def messages(self) -> Iterator[Message]:
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise UnreadableLog("a ROS bag of another format than 2.0; convert it with `rosbag migrate`")
        at, end = len(MAGIC), self._index()
        ahead = sorted(self._spans, reverse=True)
        while at < end:
            while ahead and ahead[-1] <= at:
                ahead.pop()
            try:
                head, data_at, after = self._frame(at)
                if after > end or (ahead and after > ahead[-1]):
                    raise _Damaged("reaches beyond its end")
                yield from self._record(head, at, data_at, after)
            except _Damaged as e:
                self._damaged(f"record at byte {at}: {e}")
                if not ahead:
                    break
                after = ahead[-1]
            at = after
        if self._written is not None and self._written != self.count:
            self._damaged(f"{self._written} messages were written, {self.count} can be read")

    def _record(self, head: dict[bytes, bytes], at: int, data_at: int, after: int) -> Iterator[Message]:
        op = head.get(b"op", b"")
        if op == bytes([_CHUNK]):
            self._file.seek(data_at)
            data = _decompress(head, self._file.read(after - data_at))
            for message in self._walk(data, self._spans.get(at)):
                self.count += 1
                yield message
        elif op == bytes([_CONNECTION]):
            self._file.seek(data_at)
            self._connection(head, self._file.read(after - data_at))
        elif not (len(op) == 1 and op[0] in (_BAG, _INFO, 4)):
            raise _Damaged("is of no known kind")

    def _index(self) -> int:
        """Read the index behind the chunks; return where the chunks end."""
        try:
            head, _, _ = self._frame(len(MAGIC))
            if head.get(b"op") != bytes([_BAG]):
                raise _Damaged("no bag header")
            at = _number(_U64, head, b"index_pos")
            chunks = _number(_U32, head, b"chunk_count")
        except _Damaged as e:
            self._damaged(f"the bag header is damaged ({e})")
            return self._size
        if not len(MAGIC) < at <= self._size:
            self._damaged("truncated: the bag was not closed")
            return self._size
        end, written = at, 0
        try:
            while at < self._size:
                head, data_at, after = self._frame(at)
                self._file.seek(data_at)
                data = self._file.read(after - data_at)
                if head.get(b"op") == bytes([_CONNECTION]):
                    self._connection(head, data)
                elif head.get(b"op") == bytes([_INFO]):
                    span = (_time(head, b"start_time"), _time(head, b"end_time"))
                    self._spans[_number(_U64, head, b"chunk_pos")] = span
                    written += sum(n for _, n in struct.iter_unpack("<II", data[: len(data) // 8 * 8]))
                at = after
            if len(self._spans) == chunks:
                self._written = written
        except _Damaged as e:
            self._damaged(f"the index is damaged ({e})")
            self._spans = {}
        self._spans = {p: s for p, s in self._spans.items() if len(MAGIC) < p < end}
        return end

    def _frame(self, at: int) -> tuple[dict[bytes, bytes], int, int]:
        """Header fields of the record at ``at``, where its data begins, where it ends."""
        self._file.seek(at)
        n = self._length()
        if at + 4 + n + 4 > self._size:
            raise _Damaged("is cut")
        head = _fields(self._file.read(n))
        data_at = at + 4 + n + 4
        after = data_at + self._length()
        if after > self._size:
            raise _Damaged("is cut")
        return head, data_at, after

    def _length(self) -> int:
        data = self._file.read(4)
        if len(data) < 4:
            raise _Damaged("is cut")
        return _U32.unpack(data)[0]

    def _walk(self, data: bytes, span: tuple[int, int] | None) -> list[Message]:
        """A chunk's messages, whole or not at all."""
        found: list[Message] = []
        at, size, view = 0, len(data), memoryview(data)
        try:
            while at < size:
                (n,) = _U32.unpack_from(data, at)
                head = _fields(data[at + 4 : at + 4 + n])
                begin = at + 8 + n
                at = begin + _U32.unpack_from(data, at + 4 + n)[0]
                if at > size:
                    raise _Damaged("a message reaches beyond its chunk")
                op = head.get(b"op")
                if op == bytes([_CONNECTION]):
                    self._connection(head, data[begin:at])
                elif op == bytes([_MESSAGE]):
                    number, t = _number(_U32, head, b"conn"), _time(head, b"time")
                    if number not in self.channels or (span and not span[0] <= t <= span[1]):
                        raise _Damaged("a message of its chunk is damaged")
                    found.append((number, t, t, view[begin:at]))
        except struct.error as e:
            raise _Damaged("its chunk is damaged") from e
        return found

    def _connection(self, head: dict[bytes, bytes], data: bytes) -> None:
        about = _fields(data)
        topic = head.get(b"topic", b"").decode(errors="replace")
        name = about.get(b"type", b"").decode(errors="replace")
        encoding = Encoding("ros1", "ros1msg", name, about.get(b"message_definition", b""))
        self.channels.setdefault(_number(_U32, head, b"conn"), (topic, encoding))

    def _damaged(self, words: str) -> None:
        if words not in self.damage and len(self.damage) < 8:
            self.damage.append(words)


def _fields(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise _Damaged("its header is damaged")
        (n,) = _U32.unpack_from(data, at)
        name, equals, value = data[at + 4 : at + 4 + n].partition(b"=")
        if not equals or at + 4 + n > len(data):
            raise _Damaged("its header is damaged")
        found[name] = value
        at += 4 + n
    return found


def _number(kind: struct.Struct, head: dict[bytes, bytes], name: bytes) -> int:
    value = head.get(name, b"")
    if len(value) != kind.size:
        raise _Damaged(f"no {name.decode()}")
    return kind.unpack(value)[0]


def _time(head: dict[bytes, bytes], name: bytes) -> int:
    value = head.get(name, b"")
    if len(value) != _TIME.size:
        raise _Damaged(f"no {name.decode()}")
    seconds, nanos = _TIME.unpack(value)
    return seconds * 1_000_000_000 + nanos


def _decompress(head: dict[bytes, bytes], packed: bytes) -> bytes:
    size = _number(_U32, head, b"size")
    kind = head.get(b"compression", b"")
    try:
        if kind == b"none":
            data = packed
        elif kind == b"bz2":
            data = bz2.BZ2Decompressor().decompress(packed, max_length=size)
        elif kind == b"lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size)
        else:
            raise _Damaged(f"compression {kind[:20]!r} is not known")
    except (OSError, RuntimeError, EOFError, ValueError, MemoryError) as e:
        raise _Damaged(f"does not decompress ({e})") from e
    if len(data) != size or size > _CHUNK_LIMIT:
        raise _Damaged(f"{len(data)} bytes where {size} were written")
    return data
