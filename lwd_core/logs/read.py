"""Which reader takes a log, and the one way in: `read_log`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from lwd_core.logs import faults
from lwd_core.logs.content import STEPS_READ, FrameSink, LogContent, UnreadableLog
from lwd_core.logs.formats import FORMATS
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, choose
from lwd_core.plugins import Door, theirs
from storage_schemas.embodiment import Embodiment

_HEAD = 4096
_NO_FORMAT = "no known log format"


class LogReader(Protocol):
    """Reads one format.

    A package adds one by the entry point ``lwd.readers``: an instance, or a class that is made without
    arguments. Most need not implement this themselves: `lwd_core.logs.own_format` makes one of a function
    that gives episodes as arrays, or messages one by one.

    Readers work in a process of their own with limits of memory and time by the log's size. They read from
    ``source`` alone, write nowhere, keep nothing between logs, and give the same for the same bytes. What is
    wrong with the bytes is an `UnreadableLog`, or, where something was left, `LogContent.salvaged`; any other
    exception is a fault of the reader: the log is quarantined, the package named, and the log read again once
    the package is another version.

    One that offers ``stream`` (a context of `lwd_core.logs.stream.MessageStream`) or ``peek`` (arrays of the
    first episodes) can also be drafted from: `lwd init --log`, `lwd embodiment infer`.
    """

    @property
    def format(self) -> str:
        """The word that logs, episodes and errors name it by."""
        ...

    def recognises(self, source: LogSource, head: bytes) -> bool:
        """Whether the content (never the name alone) is of this format; ``head``: a file's first 4 KiB.

        Asked of every log that no reader before knew: cheap, and never raises.
        """
        ...

    def survey(self, source: LogSource) -> Survey:
        """Topics and facts, read cheaply where the format allows: what the embodiment file is chosen by."""
        ...

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """Episodes, aligned to the embodiment's rate; each camera frame goes to ``frames`` as it is met."""
        ...


#: The platform's own are asked first, in this order, then those of other packages by name.
READERS: Door[Any] = Door(
    "lwd.readers",
    {
        "mcap": "lwd_core.logs.readers.mcap:McapReader",
        "rosbag1": "lwd_core.logs.readers.rosbag1:Rosbag1Reader",
        "lerobot": "lwd_core.logs.readers.lerobot:LeRobotReader",
        "rosbag2": "lwd_core.logs.readers.rosbag2:Rosbag2Reader",
        "npz": "lwd_core.logs.readers.npz:NpzReader",
        "hdf5": "lwd_core.logs.readers.hdf5:Hdf5Reader",
    },
    needs=("format", "recognises", "survey", "read"),
    kind="log reader",
)


def reader_of(source: LogSource) -> LogReader:
    """The reader of a log's format, by its content. Raises `UnreadableLog` where none knows it."""
    return _reader(_name(source))


def read_log(source: LogSource, embodiments: Mapping[str, Embodiment], frames: FrameSink) -> LogContent:
    """Read a raw log of any format into episodes.

    Frames go to ``frames`` while the log is read. Raises `UnreadableLog`, and for a log's content
    nothing else, whatever the bytes are; `faults.ReaderFault` where another package's reader failed.
    """
    name = _name(source)
    reader = _reader(name)
    try:
        if name in READERS.own:
            return reader.read(source, choose(reader.survey(source), embodiments), frames)
        with _blamed(name):
            content = reader.read(source, choose(reader.survey(source), embodiments), frames)
            return replace(_sound(content), reader=READERS.package(name))
    except UnreadableLog as e:
        e.format = reader.format
        raise


def mended(reason: str | None) -> bool:
    """Whether a log was quarantined for want of a reader, or by a reader's fault, and today's are others."""
    if reason and reason.startswith(_NO_FORMAT):
        return reason != _unknown()
    return bool(reason) and faults.mended(
        reason or "", {f"lwd {faults.version()}", *map(_version, READERS.others())}
    )


def _reader(name: str) -> LogReader:
    found = READERS.get(name, addresses=False)
    return found() if isinstance(found, type) else found


def _name(source: LogSource) -> str:
    head = b""
    if not source.is_folder:
        with source.open() as f:
            head = f.read(_HEAD)
        if not head:
            raise UnreadableLog("the file is empty")
        if head.startswith(b"version https://git-lfs"):
            raise UnreadableLog("a Git LFS pointer, not the log itself; fetch the file and send it again")
    for name, is_format in FORMATS.items():
        if is_format(source, head):
            return name
    broken: faults.ReaderFault | None = None
    for name in READERS.others():
        try:
            with _blamed(name):
                if _reader(name).recognises(source, head):
                    return name
        except faults.ReaderFault as fault:  # the log may be another's
            broken = broken or fault
    raise broken or UnreadableLog(_unknown())


def _unknown() -> str:
    asked = ", ".join(f"{name} of {READERS.package(name)}" for name in READERS.others())
    return _NO_FORMAT + (f"; asked was also {asked}" if asked else "")


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """What another package's reader raises is that package's, but for the log's own and the machine's."""
    try:
        with theirs():
            yield
    except (UnreadableLog, OSError):
        raise
    except Exception as error:
        if faults.out_of_room(error):
            raise
        raise faults.ReaderFault(_version(name)) from error


def _version(name: str) -> str:
    return faults.version_of(READERS.package(name), READERS.module(name))


def _sound(content: LogContent) -> LogContent:
    if not isinstance(content, LogContent):
        raise TypeError(f"read gave {type(content).__name__}, no LogContent")
    for episode in content.episodes:
        if not episode.steps.schema.equals(STEPS_READ):
            raise TypeError(f"the steps of episode {episode.index_in_log} are not of the schema STEPS_READ")
    return content
