"""Where an update stands in its stage."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """``update`` of ``total``, counted from 0."""

    update: int
    total: int

    @property
    def share(self) -> float:
        """In [0, 1]; what the cosine is read at."""
        return min(1.0, self.update / max(1, self.total))
