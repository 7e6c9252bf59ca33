"""What reading a raw log gives: the seam between the readers and the lake.

Belongs here: the values a reader hands over. Does not belong here: any format.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from storage_schemas.columns import Table
from storage_schemas.tables import SEGMENTS, STEPS

_BY_LAKE = frozenset({"episode_id", "log_id", "site", "day", "reading"})


def _as_read(table: Table) -> pa.Schema:
    """The table's columns without those only the lake can know."""
    return pa.schema([c.field for c in table.columns if c.name not in _BY_LAKE])


STEPS_READ = _as_read(STEPS)
SEGMENTS_READ = _as_read(SEGMENTS)


class UnreadableLog(Exception):
    """Nothing of the log can be trusted; its one line says why. The lake quarantines the log.

    ``format`` is the reader that refused it, unknown if none knew it.
    """

    format: str = "unknown"


class FrameSink(Protocol):
    """Takes camera frames as they are read, so that no log has to fit in memory."""

    def put(self, camera: str, t_ns: int, data: bytes) -> tuple[str, int, int]:
        """Store one frame as it is; return (shard, offset, size) of its bytes."""
        ...


@dataclass(frozen=True)
class EpisodeData:
    """One episode, aligned to its embodiment's control rate.

    An episode of T actions has T rows in ``steps``, and one more (``step`` = T, ``action`` = [])
    if the log holds the state after the last action. ``first_message`` and ``last_message`` count
    the log's messages (or rows) from 0, inclusive. ``attributes`` is everything else the log said.
    """

    index_in_log: int
    embodiment: str
    task: str
    instruction: str
    source: str
    outcome: str
    outcome_from: str
    end: str
    control_hz: float
    first_message: int
    last_message: int
    steps: pa.Table
    segments: pa.Table
    robot_id: str | None = None
    site: str | None = None
    policy_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def actions(self) -> int:
        """T, the number of actions: the rows of ``steps`` without the final state's."""
        return int(self.segments["last_step"][-1].as_py()) + 1 if self.segments.num_rows else 0


@dataclass(frozen=True)
class LogContent:
    """Everything a log gave.

    ``format`` is the reader's word for it, ``reader`` name and version of the package whose reader it was,
    empty for the platform's own.
    ``salvaged`` names what was damaged, None for a whole log. ``messages_lost`` is None where it
    can't be known. ``notes`` are findings that cost nothing: stamps sorted, a video missing.
    """

    format: str
    messages: int
    episodes: tuple[EpisodeData, ...]
    messages_lost: int | None = 0
    salvaged: str | None = None
    embodiment: str | None = None
    notes: tuple[str, ...] = ()
    reader: str = ""
