"""Which reader takes a log, and the one way in: `read_log`."""

from collections.abc import Mapping
from typing import Protocol

from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.readers.hdf5 import Hdf5Reader
from lwd_core.logs.readers.lerobot import LeRobotReader
from lwd_core.logs.readers.mcap import McapReader
from lwd_core.logs.readers.npz import NpzReader
from lwd_core.logs.readers.rosbag1 import Rosbag1Reader
from lwd_core.logs.readers.rosbag2 import Rosbag2Reader
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, choose
from storage_schemas.embodiment import Embodiment

_HEAD = 4096


class LogReader(Protocol):
    """Reads one format."""

    format: str

    def recognises(self, source: LogSource, head: bytes) -> bool:
        """Whether the content (never the name alone) is of this format; ``head``: a file's first 4 KiB."""
        ...

    def survey(self, source: LogSource) -> Survey:
        """Topics and facts, read cheaply where the format allows."""
        ...

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """Episodes, aligned; raises `UnreadableLog`."""
        ...


READERS: tuple[LogReader, ...] = (
    McapReader(),
    Rosbag1Reader(),
    LeRobotReader(),
    Rosbag2Reader(),
    NpzReader(),
    Hdf5Reader(),
)


def reader_of(source: LogSource) -> LogReader:
    """The reader of a log's format, by its content. Raises `UnreadableLog` where none knows it."""
    head = b""
    if not source.is_folder:
        with source.open() as f:
            head = f.read(_HEAD)
        if not head:
            raise UnreadableLog("the file is empty")
        if head.startswith(b"version https://git-lfs"):
            raise UnreadableLog("a Git LFS pointer, not the log itself; fetch the file and send it again")
    for reader in READERS:
        if reader.recognises(source, head):
            return reader
    raise UnreadableLog("no known log format")


def read_log(source: LogSource, embodiments: Mapping[str, Embodiment], frames: FrameSink) -> LogContent:
    """Read a raw log of any format into episodes.

    Frames go to ``frames`` while the log is read. Raises `UnreadableLog`, and for a log's content
    nothing else, whatever the bytes are.
    """
    reader = reader_of(source)
    try:
        embodiment = choose(reader.survey(source), embodiments)
        return reader.read(source, embodiment, frames)
    except UnreadableLog as e:
        e.format = reader.format
        raise
