"""When each version of a table was committed, by the commit's own clock."""

import json
from datetime import UTC, datetime

from lwd_core.lake.place import Place


def committed(place: Place, table: str, version: int) -> datetime | None:
    """When a version was committed; None where its log entry is gone or never was."""
    try:
        entry = place.read("tables", table, "_delta_log", f"{version:020d}.json")
    except FileNotFoundError:
        return None
    for line in entry.decode().splitlines():
        action = json.loads(line)
        if "commitInfo" in action:
            return datetime.fromtimestamp(action["commitInfo"]["timestamp"] / 1000, UTC)
    return None


def version_at(place: Place, table: str, newest: int, moment: datetime) -> int | None:
    """The newest version committed by a moment; None where that is before what the log still tells."""
    low, high = -1, newest  # the answer lies in [low, high]
    while low < high:
        middle = (low + high + 1) // 2
        when = committed(place, table, middle)
        if when is None or when <= moment:  # entries missing are the oldest
            low = middle
        else:
            high = middle - 1
    return None if low < 0 or committed(place, table, low) is None else low
