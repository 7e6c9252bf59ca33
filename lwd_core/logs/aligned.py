"""An episode on its control ticks, as every format's reader hands it on."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TickFrames:
    """Frames shown at ticks: rows (F,) of camera, shard, offset, size, t_ns; ``lengths`` (N,) per tick."""

    camera: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    t_ns: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Aligned:
    """N ticks of one episode, of which the first T have an action (N is T or T + 1).

    ``state`` (N, S) and ``action``, ``proposed`` (T, D) float32; ``has_proposed`` (T,) bool;
    ages, ``publish``, ``header`` (N,) int64 ns, -1 where there is none; an action's age is its distance
    from the tick, before or after. ``acting_ns`` (N,): when the action was given, None: at the tick.
    """

    t_ns: np.ndarray
    state: np.ndarray
    action: np.ndarray
    proposed: np.ndarray
    has_proposed: np.ndarray
    valid: np.ndarray
    state_age: np.ndarray
    action_age: np.ndarray
    publish: np.ndarray
    header: np.ndarray
    frames: TickFrames | None = None
    acting_ns: np.ndarray | None = None

    @property
    def actions(self) -> int:
        """T."""
        return len(self.action)
