import numpy as np

import lwd_core as lwd


@lwd.label("kitchen.effort", version=1, kind="reward")
def effort(episode):
    """A success is worth 1, and every action costs what it takes."""
    done = np.arange(len(episode)) == len(episode) - 1
    return done * (episode.outcome == "success") - 0.001 * np.square(episode["action"]).sum(axis=1)


@lwd.check("kitchen.calm", version=1)
def calm(episode):
    """No action leaps by more than half of its range."""
    return (np.abs(np.diff(episode["action"], axis=0)) < 1.0).all()
