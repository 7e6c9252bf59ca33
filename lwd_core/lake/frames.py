"""Camera frames: the bytes the robot sent, in plain tar shards, addressed by offset and size.

A shard belongs to one log and its name and bytes follow from the log alone, so that writing it again
after a crash changes nothing. WebDataset streams it; a row of ``steps`` points into it.
"""

import io
import re
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from typing import IO, Any

import simplejpeg

from lwd_core.errors import StorageError
from lwd_core.storage.location import Location

SHARD_BYTES = 512 * 2**20
BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)
SIGNATURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp"}


def utc_day(t_ns: int) -> str:
    """The UTC day of a time in ns since epoch, YYYY-MM-DD; times no calendar knows fall on 1970-01-01."""
    try:
        return datetime.fromtimestamp(t_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return "1970-01-01"


def extension(data: bytes) -> str:
    """File type of an image by its first bytes; ``bin`` if none is known."""
    for start, kind in SIGNATURES.items():
        if data.startswith(start):
            return kind
    return "bin"


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG, by its header. ValueError if it is none."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    return int(height), int(width)


@cache
def plain(camera: str) -> str:
    """A camera's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", camera)[:40]


def _blank() -> bytes:
    info = tarfile.TarInfo()
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


# every header but for name (100 bytes), size (12 at 124) and checksum (8 at 148); tarfile's own way of
# making one costs a tenth of a whole ingest
_HEAD, _TAIL = _blank()[100:124], _blank()[136:]
_SUM = sum(_HEAD) + sum(_TAIL[:12]) + 8 * ord(" ") + sum(_TAIL[20:])


def header(name: str, size: int) -> bytes:
    """A tar header (USTAR) whose bytes depend on nothing but name (at most 100 ASCII letters) and size."""
    raw, octal = name.encode("ascii"), b"%011o\0" % size
    if len(raw) > 100 or len(octal) > 12:
        raise ValueError(f"{name!r} of {size} bytes doesn't fit a tar header")
    checksum = b"%06o\0 " % (_SUM + sum(raw) + sum(octal))
    return b"".join((raw.ljust(100, b"\0"), _HEAD, octal, _TAIL[:12], checksum, _TAIL[20:]))


class FrameShards:
    """The frames of one log; a ``FrameSink``. Use as a context: shards appear when they are full or at
    the end, and none does if the block fails.

    ``day`` is the day of the first frame where it is None; ``mark`` keeps another reading's shards apart.
    """

    def __init__(
        self, place: Location, log_id: str, site: str, day: str | None = None, mark: str = ""
    ) -> None:
        self._place, self._log, self._site, self._day, self._mark = place, log_id, site, day, mark
        self._open: ExitStack | None = None
        self._stream: IO[bytes] | None = None
        self._shard, self._position, self._count, self._shards = "", 0, 0, 0

    def put(self, camera: str, t_ns: int, data: bytes) -> tuple[str, int, int]:
        """Store one frame; return shard (relative to the lake), offset and size of its bytes."""
        try:
            if self._stream is None or self._position + len(data) > SHARD_BYTES:
                self._finish()
                self._begin(t_ns)
            assert self._stream is not None
            name = f"{self._log[:12]}-{self._count:07d}-{t_ns}.{plain(camera)}.{extension(data)}"
            self._stream.write(header(name, len(data)))
            self._stream.write(data)
            self._stream.write(b"\0" * (-len(data) % BLOCK))
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"{self._place.root}: frames can't be written ({error})") from error
        offset = self._position + BLOCK
        self._position = offset + len(data) + (-len(data) % BLOCK)
        self._count += 1
        return self._shard, offset, len(data)

    def _begin(self, t_ns: int) -> None:
        self._day = self._day or utc_day(t_ns)
        self._shard = f"frames/{self._day}/{self._site}/{self._log[:32]}-{self._mark}{self._shards:04d}.tar"
        self._shards += 1
        self._position = 0
        self._open = ExitStack()
        self._stream = self._open.enter_context(self._place.write(self._shard))

    def _finish(self) -> None:
        if self._open is None or self._stream is None:
            return
        opened, stream, self._open, self._stream = self._open, self._stream, None, None
        with opened:
            stream.write(END)

    def __enter__(self) -> "FrameShards":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            if self._open is not None:
                self._open.__exit__(kind, error, trace)
            return
        try:
            self._finish()
        except StorageError:
            raise
        except OSError as problem:
            raise StorageError(f"{self._place.root}: frames can't be written ({problem})") from problem


def read_frame(place: Location, frame: Mapping[str, Any]) -> bytes:
    """The bytes of one frame of ``steps.frames``."""
    path = place.path(frame["shard"])
    return place.fs.cat_file(path, start=frame["offset"], end=frame["offset"] + frame["size"])


def rewritten(place: Location, old: str, new: str, keep: Callable[[int], bool]) -> dict[int, int]:
    """Write shard ``new`` with those frames of ``old`` whose offset ``keep`` accepts.

    Returns where each kept frame lies now, by its old offset.
    """
    moved: dict[int, int] = {}
    position = 0
    with (
        place.fs.open(place.path(old), "rb") as source,
        tarfile.open(fileobj=io.BufferedReader(source), mode="r:") as tar,
        place.write(new) as target,
    ):
        for member in tar:
            if not keep(member.offset_data):
                continue
            content = tar.extractfile(member)
            assert content is not None
            data = content.read()
            target.write(header(member.name, member.size) + data + b"\0" * (-member.size % BLOCK))
            moved[member.offset_data] = position + BLOCK
            position += BLOCK + member.size + (-member.size % BLOCK)
        target.write(END)
    return moved
