"""Whose fault an exception of a reader is: the log's, that of too little room, or the reader's own.

An error of ours is named as ours, and its log is read again once the readers are mended.
"""

import errno
import hashlib
import re
import traceback
from functools import cache
from importlib import metadata
from pathlib import Path

_OURS = re.compile(r"the reader failed: a fault of lwd (\S+), please report")
_ROOT = Path(__file__).parents[1]


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
    digest = hashlib.sha256()
    for file in sorted((_ROOT / "logs").rglob("*.py")):
        digest.update(file.read_bytes())
    return f"{metadata.version('lwd')}+{digest.hexdigest()[:8]}"


def fault(error: Exception) -> str:
    """One line for an exception no reader foresaw: what, where in our code, and by which version."""
    if isinstance(error, RecursionError):
        return "its content is nested deeper than a reader can follow"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if _ROOT in Path(f.filename).parents] or frames
    where = f" in {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    text = " ".join(str(error).split())[:200]
    return (
        f"the reader failed: a fault of lwd {version()}, please report "
        f"({type(error).__name__}{where}{': ' + text if text else ''})"
    )


def mended(reason: str | None) -> bool:
    """Whether a log was refused by a fault of readers that are not today's: worth reading again."""
    found = _OURS.match(reason or "")
    return found is not None and found[1] != version()
