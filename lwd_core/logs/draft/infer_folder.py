"""Of a folder of logs, the one that a draft begins with."""

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.read import reader_of
from lwd_core.logs.source import LogSource


def first_log(source: LogSource) -> LogSource:
    """``source`` itself where it is a log, else the first log in its folder, as an ingest tells them apart.

    Raises `UnreadableLog` where it is neither.
    """
    if not source.is_folder or "" in source.folders:
        return source
    parts = {f"{folder}/{name}" for folder, names in source.folders.items() for name in names}
    refused: UnreadableLog | None = None
    for place in sorted({*source.folders, *source.files} - parts):
        log = LogSource(f"{source.uri.rstrip('/')}/{place}")
        try:
            reader_of(log)
            return log
        except UnreadableLog as e:
            refused = refused or e
    if refused is None and source.leading_out:
        raise UnreadableLog(
            f"the folder holds no log: {source.leading_out[0]} is a link out of it; put the file itself "
            "there (`cp -rL`)"
        )
    raise refused or UnreadableLog("the folder holds no log")
