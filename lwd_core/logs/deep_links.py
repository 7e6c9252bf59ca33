"""Links and commands that open a raw log at a moment in other people's viewers: Foxglove and Rerun.

Nothing is sent anywhere by them. A command opens the file where it lies; a link names an address from which
the viewer itself fetches the log, so whoever serves it answers ranges and lets the viewer's page ask (CORS).
"""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

#: Rerun's timeline for the recorder's clock of an MCAP file.
RERUN_TIMELINE = "message_log_time"
_FOXGLOVE = (".mcap", ".bag")
_RERUN = (".mcap",)
_WEB = ("http://", "https://")


@dataclass(frozen=True)
class DeepLinks:
    """What opens one raw log; None where a viewer knows no such log, or has no way to it.

    ``foxglove`` is a link for a page, ``rerun`` an address for its viewer, ``command`` a line for a shell.
    A file that nobody serves is opened at its beginning: Rerun takes a moment from addresses alone.
    """

    foxglove: str | None = None
    rerun: str | None = None
    command: str | None = None


def deep_links(log: str, t_ns: int | None = None, *, url: str | None = None) -> DeepLinks:
    """Open a raw log, at ``t_ns`` (ns since epoch, the recorder's clock) where one is given.

    ``log``: its path or address; its ending says what can open it. ``url``: the http(s) address at which its
    bytes are served; without it, and where the log's own address is none, there are no links.
    """
    web = url or (log if log.startswith(_WEB) else None)
    ending = log.lower()
    foxglove = foxglove_link(web, t_ns) if web and ending.endswith(_FOXGLOVE) else None
    if not ending.endswith(_RERUN):
        return DeepLinks(foxglove)
    rerun = rerun_link(web, t_ns) if web else None
    opened = rerun or (log if "://" not in log else None)
    return DeepLinks(foxglove, rerun, f"rerun --bind 127.0.0.1 {shlex.quote(opened)}" if opened else None)


def foxglove_link(url: str, t_ns: int | None = None) -> str:
    """Foxglove's application, with the log that lies at an http(s) address."""
    asked = {"ds": "remote-file", "ds.url": url} | ({} if t_ns is None else {"time": moment(t_ns)})
    return f"foxglove://open?{urlencode(asked, quote_via=quote)}"


def rerun_link(url: str, t_ns: int | None = None) -> str:
    """The address to hand to ``rerun``, or to its page behind ``?url=``."""
    return url if t_ns is None else f"{url}#when={RERUN_TIMELINE}@{moment(t_ns)}"


def moment(t_ns: int) -> str:
    """Nanoseconds since epoch as RFC 3339 in UTC, to the nanosecond."""
    seconds, rest = divmod(t_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
