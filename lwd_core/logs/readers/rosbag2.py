"""rosbag2: a folder of MCAP or SQLite files with a metadata.yaml, or one .db3 file by itself.

The parts are read one after the other as one log. The metadata may be missing or wrong (a killed
recorder writes none): the files themselves are believed.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import zstandard

from lwd_core.logs import stream
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.decode import Encoding
from lwd_core.logs.episodes import content_of
from lwd_core.logs.formats import SQLITE, is_rosbag2, rosbag2_parts
from lwd_core.logs.readers.mcap import McapScan
from lwd_core.logs.readers.rosbag2_metadata import Metadata, read_metadata
from lwd_core.logs.readers.rosbag2_sqlite import SqliteScan
from lwd_core.logs.source import LogSource
from lwd_core.logs.stream import Message, MessageStream
from lwd_core.logs.survey import Survey
from storage_schemas.embodiment import Embodiment

_CHANNELS = 1 << 20  # channel numbers of one part lie below, of the next above
_UNPACKED_LIMIT = 1 << 36
_MESSAGE_LIMIT = 1 << 28


class Rosbag2Reader:
    """Reads rosbag2 recordings."""

    format = "rosbag2"

    recognises = staticmethod(is_rosbag2)

    def survey(self, source: LogSource) -> Survey:
        with self.stream(source) as parts:
            return stream.survey(parts)

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The recording's episodes. Raises `UnreadableLog` where nothing can be read."""
        with self.stream(source) as parts:
            return content_of(stream.record(parts, embodiment, frames, self.format), embodiment)

    @contextmanager
    def stream(self, source: LogSource) -> Iterator[MessageStream]:
        """The messages of all parts."""
        with source.on_disk() as root, ExitStack() as stack:
            files = [root / part for part in rosbag2_parts(source)] if source.is_folder else [root]
            yield _Parts(files, read_metadata(root), stack)


def _open(file: Path, stack: ExitStack) -> MessageStream:
    if file.suffix == ".zstd":
        file = _unpacked(file, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lwd-bag-"))))
    with file.open("rb") as f:
        is_sqlite = f.read(len(SQLITE)) == SQLITE
    if is_sqlite:
        return SqliteScan(file)
    return McapScan(stack.enter_context(file.open("rb")), file.stat().st_size)


def _unpacked(file: Path, folder: Path) -> Path:
    target = folder / file.stem
    try:
        with file.open("rb") as f, target.open("wb") as out:
            size = 0
            for block in zstandard.ZstdDecompressor().read_to_iter(f):
                size += len(block)
                if size > _UNPACKED_LIMIT:
                    raise UnreadableLog(f"{file.name} unpacks to more than {_UNPACKED_LIMIT} bytes")
                out.write(block)
    except zstandard.ZstdError as e:
        raise UnreadableLog(f"{file.name} does not decompress ({e})") from e
    return target


class _Parts:
    """Several containers as one."""

    def __init__(self, files: list[Path], metadata: Metadata, stack: ExitStack) -> None:
        self._metadata = metadata
        self._parts: dict[str, MessageStream] = {}
        self.damage = [*metadata.missing([f.name for f in files])] if len(files) > 1 or metadata.files else []
        self._broken = bool(self.damage)
        if metadata.fault:
            self.damage.append(metadata.fault)
        for file in files:
            try:
                self._parts[file.name] = _open(file, stack)
            except UnreadableLog as e:  # one part that is nothing must not lose the others
                if len(files) == 1:
                    raise
                self._lose(f"part {file.name}: {e}")

    def _lose(self, words: str) -> None:
        self.damage.append(words)
        self._broken = True

    @property
    def channels(self) -> dict[int, tuple[str, Encoding]]:
        return {
            i * _CHANNELS + number: channel
            for i, part in enumerate(self._parts.values())
            for number, channel in part.channels.items()
        }

    @property
    def facts(self) -> dict[str, str]:
        return {k: v for part in self._parts.values() for k, v in part.facts.items()} | dict(
            self._metadata.custom
        )

    @property
    def records(self) -> dict[str, str]:
        own = {f"custom_data.{k}": v for k, v in self._metadata.custom.items()}
        return {k: v for part in self._parts.values() for k, v in part.records.items()} | own

    @property
    def count(self) -> int:
        return sum(part.count for part in self._parts.values())

    @property
    def lost(self) -> int | None:
        """By the metadata's count where something is missing, else what the parts know."""
        if self._metadata.messages is not None and self._metadata.messages >= self.count:
            return self._metadata.messages - self.count
        lost = [part.lost for part in self._parts.values()]
        return None if None in lost or self._broken else sum(n for n in lost if n)

    def messages(self) -> Iterator[Message]:
        for i, (name, part) in enumerate(self._parts.items()):
            try:
                for number, log, publish, payload in part.messages():
                    data = self._unpacked(payload) if self._metadata.packs_messages else payload
                    yield i * _CHANNELS + number, log, publish, data
            except UnreadableLog as e:
                if len(self._parts) == 1 and not self._broken:
                    raise
                self._lose(f"part {name}: {e}")
            self.damage += [f"part {name}: {words}" for words in part.damage]
        told = self._metadata.messages
        if told is not None and told > self.count:
            self.damage.append(f"the recorder counted {told} messages, {self.count} can be read")

    def _unpacked(self, payload: bytes) -> bytes:
        """A message compressed by itself; one that does not decompress is left to fail in its decoder."""
        try:
            return zstandard.ZstdDecompressor().decompress(payload, max_output_size=_MESSAGE_LIMIT)
        except zstandard.ZstdError:
            return b""
