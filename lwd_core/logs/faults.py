"""Whose fault an exception of a reader is: the log's, that of too little room, or the reader's own.

A fault is named by the package whose reader failed, this one or another, and its log is read again once
that package is mended.
"""

import errno
import hashlib
import importlib.util
import re
import traceback
from collections.abc import Collection
from functools import cache
from importlib import metadata
from pathlib import Path

_FAULT = re.compile(r"the reader failed: a fault of (.+?), please report")
_ROOT = Path(__file__).parents[1]


class ReaderFault(Exception):
    """A reader of another package failed; the cause is what it raised."""

    def __init__(self, package: str) -> None:
        """``package`` with its version, see `version_of`."""
        super().__init__(package)
        self.package = package


_NO_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "out of memory",
    "Cannot allocate memory",
    "Unable to allocate",
    "alloc of size",
)


def lacked_memory(*texts: str) -> bool:
    """Whether words of a library or a reader say that memory was refused."""
    return any(sign in text for text in texts for sign in _NO_MEMORY)


def out_of_room(error: BaseException | None) -> bool:
    """Whether an exception comes of memory refused, or of a file that grew beyond its limit."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.EFBIG:
            return True
        if lacked_memory(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@cache
def version() -> str:
    """This package's version and a digest of its readers' sources: readers mended are another version."""
    return f"{metadata.version('lwd')}+{_digest(_ROOT / 'logs')}"


def version_of(package: str, module: str) -> str:
    """The same of another package, ``name version``, and the sources that its reader's module belongs to."""
    try:
        found = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        found = None
    if found is None or not found.origin:
        return package
    source = Path(found.origin)
    return f"{package}+{_digest(source.parent if found.submodule_search_locations else source)}"


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def fault(error: BaseException) -> str:
    """One line for an exception no reader foresaw: what, where in its code, and by which version."""
    whose = f"lwd {version()}"
    if isinstance(error, ReaderFault) and error.__cause__ is not None:
        whose, error = error.package, error.__cause__
    if isinstance(error, RecursionError):
        return "its content is nested deeper than a reader can follow"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if _ROOT in Path(f.filename).parents] or frames
    at = (ours if whose.startswith("lwd ") else frames)[-1:]
    where = "".join(f" in {Path(f.filename).name}:{f.lineno}" for f in at)
    text = " ".join(str(error).split())[:200]
    return (
        f"the reader failed: a fault of {whose}, please report "
        f"({type(error).__name__}{where}{': ' + text if text else ''})"
    )


def mended(reason: str, today: Collection[str]) -> bool:
    """Whether a log was refused by a fault of a reader that is none of ``today``'s (`version_of`)."""
    found = _FAULT.match(reason)
    return found is not None and found[1] not in today
