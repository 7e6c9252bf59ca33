"""Checks and labels: what is said of episodes, by whom, in layers that are added and never edited.

One's own are functions with a decorator:

    @label("spill", version=1)
    def spill(episode):
        return episode["state"][:, 2].min() < 0.02
"""

from lwd_core.labels.function import check, label
from lwd_core.labels.said import Finding, Said
from lwd_core.lake.episode import Episode

__all__ = ["Episode", "Finding", "Said", "check", "label"]
