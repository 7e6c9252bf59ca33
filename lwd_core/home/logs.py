"""A raw log of one's own before there is a lake: what it holds, and a first draft of what that means."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lwd_core.errors import UserError
from lwd_core.home.home import Place
from lwd_core.logs.embodiment import load_embodiments
from storage_schemas.embodiment import Embodiment

if TYPE_CHECKING:
    from lwd_core.logs.content import FrameSink, LogContent


def draft_embodiment(log: Place, name: str | None = None) -> str:
    """The text of an embodiment file, drafted from a log's topics; what no log tells stands in its comments.

    Go over it before use: units, limits and what a success is are for a person to say. Raises `UserError`
    for a log that isn't there or can't be read.
    """
    from lwd_core.logs.children import apart
    from lwd_core.logs.content import UnreadableLog
    from lwd_core.logs.draft.infer import drafted
    from lwd_core.logs.source import LogSource

    try:
        source = LogSource(os.fspath(log))
        text, _asked = apart(source.size, drafted, source, name)
    except FileNotFoundError as error:
        raise UserError(f"{log}: no such log; give a file, a folder or a URL") from error
    except (UnreadableLog, OSError) as error:
        raise UserError(f"{log}: {error}") from error
    return text


def read_log(
    log: Place, embodiments: Mapping[str, Embodiment] | Place, frames: "FrameSink | None" = None
) -> "LogContent":
    """Read a raw log of any format into episodes, without a lake.

    ``embodiments``: by name, or the folder of their files. ``frames.put(camera, t_ns, data)``, which returns
    (shard, offset, size), takes camera frames while the log is read; without, they are passed over. Raises
    `UserError` for a log that isn't there or can't be read.
    """
    from lwd_core.logs.content import UnreadableLog
    from lwd_core.logs.read import read_log as read
    from lwd_core.logs.source import LogSource

    known = embodiments if isinstance(embodiments, Mapping) else load_embodiments(os.fspath(embodiments))
    try:
        return read(LogSource(os.fspath(log)), known, frames or _PassedOver())
    except FileNotFoundError as error:
        raise UserError(f"{log}: no such log; give a file, a folder or a URL") from error
    except UnreadableLog as error:
        raise UserError(f"{log}: {error}") from error


class _PassedOver:
    """A sink of frames that keeps none."""

    def put(self, camera: str, t_ns: int, data: bytes) -> tuple[str, int, int]:
        return "", 0, len(data)
