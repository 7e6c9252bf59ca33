"""Of a folder of logs, the one that a draft begins with."""

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.lerobot_files import INFO
from lwd_core.logs.read import reader_of
from lwd_core.logs.source import LogSource


def first_log(source: LogSource) -> LogSource:
    """``source`` itself where it is a log, else the first log in its folder.

    Raises `UnreadableLog` where it is neither.
    """
    if not source.is_folder:
        return source
    refused: UnreadableLog | None = None
    base = source.uri.rstrip("/")
    inner = {f.removesuffix(f"/{INFO}"): None for f in source.files if f.endswith(f"/{INFO}")}
    for place in ("", *inner, *source.files):
        log = LogSource(f"{base}/{place}") if place else source
        try:
            reader_of(log)
            return log
        except UnreadableLog as e:
            refused = refused or e
    raise refused or UnreadableLog("the folder holds no log")
