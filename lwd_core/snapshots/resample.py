"""Episodes at a lower frame rate than the robot's control rate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.snapshots.episode_rows import StoredRows
from storage_schemas import snapshot_row
from storage_schemas.snapshot_row import Merge

_OVER = {Merge.SUM: np.add, Merge.ANY: np.logical_or, Merge.ALL: np.logical_and}


def resample(rows: StoredRows, episode: Mapping[str, Any], rate: float | None) -> StoredRows:
    """Every k-th tick, where k = control rate / ``rate`` must be whole; None keeps all.

    What a kept tick has of those it stands for, each column's ``merge`` says: its own state and action, the
    sum of rewards, and it is human, invalid or after a gap if one of them is. So nothing that ends a chunk
    gets lost.
    """
    if rate is None:
        return rows
    every = episode["control_hz"] / rate
    if every < 1 or abs(every - round(every)) > 1e-6:
        raise UserError(
            f"frame_rate {rate:g} Hz: episode {episode['episode_id']} runs at {episode['control_hz']:g} Hz, "
            "which is no whole multiple of it; choose a rate that divides it"
        )
    ticks = np.arange(0, rows.steps, round(every))
    kept = np.append(ticks, rows.steps) if len(rows.columns["state"]) > rows.steps else ticks
    return StoredRows(
        columns={
            column.name: _merged(
                column.merge, rows.columns[column.name], ticks if column.per_action else kept
            )
            for column in snapshot_row.ROW
            if column.name in rows.columns
        },
        frames=None if rows.frames is None else rows.frames.take(kept),
    )


def _merged(merge: Merge, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    if merge is Merge.FIRST:
        return values[kept]
    if merge is Merge.SINCE:
        # the span of a kept tick ends with it and begins behind the one before
        return np.logical_or.reduceat(values[: kept[-1] + 1], np.append(0, kept[:-1] + 1))
    return _OVER[merge].reduceat(values, kept)
