"""An error of the reader's own is not the log's fault: it is named as ours, until the reader is mended."""

import hashlib
import re
import traceback
from functools import cache
from importlib import metadata, resources
from pathlib import Path

_OURS = re.compile(r"the reader failed: a fault of lwd (\S+), please report")
_ROOT = Path(__file__).parents[1]


@cache
def version() -> str:
    """This package's version and a digest of its readers' sources: readers mended are another version."""
    digest = hashlib.sha256()
    for file in sorted(resources.files("lwd_core.logs").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".py"):
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
