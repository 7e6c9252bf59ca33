"""One .db3 of a rosbag2 recording, with the changes that SQLite may still keep beside it."""

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.decode import Encoding
from lwd_core.logs.stream import Message

_WAL_HEAD = struct.Struct(">8xI4x8s8x")  # size of a page, salt
_WAL_FRAME = struct.Struct(">8x8s8x")  # salt
_BESIDE = ("-wal", "-journal")  # messages not in the database yet; what a broken write has to be undone with


class SqliteScan:
    """One pass over a .db3. ``damage`` says what was wrong, in words; ``count`` the messages seen."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.channels: dict[int, tuple[str, Encoding]] = {}
        self.facts: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.damage: list[str] = []
        self.count = 0

    @property
    def lost(self) -> int | None:
        return None if self.damage else 0

    def messages(self) -> Iterator[Message]:
        """Every message, in the order of writing."""
        try:
            with _database(self._file) as database:
                self._topics(database)
                if _unfinished(Path(f"{self._file}-wal"), database):
                    self.damage.append(f"{self._file.name}-wal ends within a write: its messages are lost")
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


@contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    """The database, opened so that nothing is ever written beside somebody's recording."""
    beside = [path for end in _BESIDE if (path := Path(f"{file}{end}")).is_file() and path.stat().st_size]
    if not beside:
        uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            yield database
        return
    # the changes count only for a database that SQLite may recover, which it does in place: in a copy
    with tempfile.TemporaryDirectory(prefix="lwd-bag-") as folder:
        for path in (file, *beside):
            shutil.copyfile(path, Path(folder, path.name))
        with closing(sqlite3.connect(Path(folder, file.name))) as database:
            yield database


def _unfinished(wal: Path, database: sqlite3.Connection) -> bool:
    """Whether a database's log of changes holds pages that SQLite did not take: a write that was cut short,
    or is damaged."""
    if not wal.is_file():
        return False
    taken = int(database.execute("PRAGMA wal_checkpoint").fetchone()[1])
    with wal.open("rb") as stream:
        head = stream.read(_WAL_HEAD.size)
        if len(head) < _WAL_HEAD.size:
            return False
        page, salt = _WAL_HEAD.unpack(head)
        stream.seek(max(0, taken) * (_WAL_FRAME.size + page), 1)
        # frames of an earlier round lie behind those of this one, under another salt
        return (
            len(head := stream.read(_WAL_FRAME.size)) == _WAL_FRAME.size
            and _WAL_FRAME.unpack(head)[0] == salt
        )
