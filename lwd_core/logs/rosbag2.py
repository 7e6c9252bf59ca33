"""rosbag2: a folder of MCAP or SQLite files with a metadata.yaml, or one .db3 file by itself.

The parts are read one after the other as one log. The metadata may be missing or wrong (a killed
recorder writes none): the files themselves are believed.
"""

import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import zstandard

from lwd_core.logs import stream
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.decode import Encoding
from lwd_core.logs.episodes import content_of
from lwd_core.logs.mcap import McapScan
from lwd_core.logs.source import LogSource
from lwd_core.logs.stream import Message, MessageStream
from lwd_core.logs.survey import Survey
from storage_schemas.embodiment import Embodiment

_SQLITE = b"SQLite format 3\0"
_PART = re.compile(r".*\.(db3|mcap)(\.zstd)?$")
_CHANNELS = 1 << 20  # channel numbers of one part lie below, of the next above
_UNPACKED_LIMIT = 1 << 36
_MESSAGE_LIMIT = 1 << 28


class Rosbag2Reader:
    """Reads rosbag2 recordings."""

    format = "rosbag2"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        if source.is_folder:
            return bool(_parts(source))
        return head.startswith(_SQLITE)

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
            files = [root / part for part in _parts(source)] if source.is_folder else [root]
            yield _Parts([_open(file, stack) for file in files], unpack=_packs_messages(root))


def _parts(source: LogSource) -> list[str]:
    """The recording's files in the order they were written: bag_2 before bag_10."""
    if any(f.startswith("meta/") for f in source.files):
        return []  # a data set that happens to hold such files
    found = [f for f in source.files if _PART.match(f)]
    return sorted(found, key=lambda f: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", f)])


def _packs_messages(root: Path) -> bool:
    """Whether the metadata says that each message is compressed by itself."""
    metadata = root / "metadata.yaml"
    if not metadata.is_file():
        return False
    text = metadata.read_bytes()[: 1 << 20].decode(errors="replace").lower()
    return bool(re.search(r"compression_mode:\s*[\"']?message", text))


def _open(file: Path, stack: ExitStack) -> MessageStream:
    if file.suffix == ".zstd":
        file = _unpacked(file, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lwd-bag-"))))
    with file.open("rb") as f:
        is_sqlite = f.read(len(_SQLITE)) == _SQLITE
    if is_sqlite:
        return _Sqlite(file)
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

    def __init__(self, parts: list[MessageStream], unpack: bool) -> None:
        self._parts, self._unpack = parts, unpack
        self.damage: list[str] = []

    @property
    def channels(self) -> dict[int, tuple[str, Encoding]]:
        return {
            i * _CHANNELS + number: channel
            for i, part in enumerate(self._parts)
            for number, channel in part.channels.items()
        }

    @property
    def facts(self) -> dict[str, str]:
        return {k: v for part in self._parts for k, v in part.facts.items()}

    @property
    def count(self) -> int:
        return sum(part.count for part in self._parts)

    @property
    def lost(self) -> int | None:
        lost = [part.lost for part in self._parts]
        return None if None in lost else sum(n for n in lost if n)

    def messages(self) -> Iterator[Message]:
        for i, part in enumerate(self._parts):
            try:
                for number, log, publish, payload in part.messages():
                    data = self._unpacked(payload) if self._unpack else payload
                    yield i * _CHANNELS + number, log, publish, data
            except UnreadableLog as e:  # one part that is nothing must not lose the others
                if len(self._parts) == 1:
                    raise
                self.damage.append(f"part {i}: {e}")
            self.damage += [f"part {i}: {words}" for words in part.damage]

    def _unpacked(self, payload: bytes) -> bytes:
        """A message compressed by itself; one that does not decompress is left to fail in its decoder."""
        try:
            return zstandard.ZstdDecompressor().decompress(payload, max_output_size=_MESSAGE_LIMIT)
        except zstandard.ZstdError:
            return b""


class _Sqlite:
    """One .db3 file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.channels: dict[int, tuple[str, Encoding]] = {}
        self.facts: dict[str, str] = {}
        self.damage: list[str] = []
        self.count = 0

    @property
    def lost(self) -> int | None:
        return None if self.damage else 0

    def messages(self) -> Iterator[Message]:
        # immutable: never write a journal beside somebody's recording
        database = sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            self._topics(database)
            rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id")
            for topic, t, data in rows:
                self.count += 1
                if isinstance(t, int) and isinstance(data, bytes) and topic in self.channels:
                    yield topic, t, t, data
                elif "rows of no message" not in self.damage:
                    self.damage.append("rows of no message")
        except (sqlite3.Error, OverflowError, ValueError) as e:
            if not self.channels:
                raise UnreadableLog(f"no rosbag2 database ({e})") from e
            self.damage.append(f"the database is damaged ({e})")
        finally:
            database.close()

    def _topics(self, database: sqlite3.Connection) -> None:
        definitions: dict[str, tuple[str, bytes]] = {}
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'").fetchone():
            for name, encoding, text in database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                definitions[str(name)] = (str(encoding), str(text).encode())
        for number, topic, name, encoding in database.execute(
            "SELECT id, name, type, serialization_format FROM topics"
        ):
            if not isinstance(number, int):  # SQLite keeps whatever type a damaged page claims
                self.damage = ["rows of no topic"]
                continue
            schema, text = definitions.get(str(name), ("ros2msg", b""))
            self.channels[number] = (str(topic), Encoding(str(encoding), schema, str(name), text))
