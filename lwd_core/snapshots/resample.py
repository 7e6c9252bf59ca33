"""Episodes at a lower frame rate than the robot's control rate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.snapshots.select import EpisodeRows


def resample(rows: EpisodeRows, episode: Mapping[str, Any], rate: float | None) -> EpisodeRows:
    """Every k-th tick, where k = control rate / ``rate`` must be whole; None keeps all.

    A kept tick has its own state and action, the rewards of the ticks it stands for summed, and is
    human, invalid or after a gap if one of them is. So nothing that ends a chunk gets lost.
    """
    if rate is None:
        return rows
    every = episode["control_hz"] / rate
    if every < 1 or abs(every - round(every)) > 1e-6:
        raise UserError(
            f"frame_rate {rate:g} Hz: episode {episode['episode_id']} runs at {episode['control_hz']:g} Hz, "
            "which is no whole multiple of it; choose a rate that divides it"
        )
    k = round(every)
    steps = len(rows.action)
    ticks = np.arange(0, steps, k)
    kept = np.append(ticks, steps) if len(rows.state) > steps else ticks

    def over(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return np.logical_or.reduceat(values, starts)

    # a gap inside a kept tick's span breaks before the next kept tick, whose state comes after it
    gap = rows.gap.copy()
    gap_after = over(np.append(gap[1:], False), kept)
    gap_kept = gap[kept]
    gap_kept[1:] |= gap_after[:-1]
    return EpisodeRows(
        state=rows.state[kept],
        action=rows.action[ticks],
        reward=np.add.reduceat(rows.reward, ticks),
        human=over(rows.human, ticks),
        valid=~over(~rows.valid, kept),
        gap=gap_kept,
        t_ns=rows.t_ns[kept],
        frames=[rows.frames[i] for i in kept] if rows.frames is not None else None,
    )
