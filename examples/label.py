"""Own labels in one file: `lwd label run label.py`."""

import numpy as np

import lwd_core as lwd


@lwd.label("hand.low", version=1)
def low(episode):
    """Whether the hand came within 5 cm of the table."""
    return episode["state"][:, 2].min() < 0.05


@lwd.label("hand.phase", version=1, kind="phase")
def phase(episode):
    """Where the hand is: segments, from step to step."""
    return np.where(episode["state"][:, 2] < 0.1, "down", "up")


@lwd.check("hand.moves", version=1)
def moves(episode):
    """The hand goes somewhere."""
    return np.ptp(episode["state"][:, :3], axis=0).max() > 0.01
