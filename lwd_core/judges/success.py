"""Whether an episode succeeded: small networks for each task of each robot type, and their figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from lwd_core.judges.figures import Figure, figures, share
from lwd_core.judges.networks import Array, Networks, learn
from lwd_core.judges.scaling import Temperature, temperature

#: Of each outcome; of fewer a task isn't learned.
FEWEST = 10


@dataclass(frozen=True)
class SuccessHead:
    """Chances of success from views (N, D) of whole episodes."""

    networks: Networks
    scale: Temperature

    def __call__(self, views: Array) -> Array:
        """(N,) in (0, 1)."""
        return self.scale(self.networks(views))

    def arrays(self) -> dict[str, Array]:
        """What it consists of, by name."""
        return self.networks.arrays() | {"scaling": np.array([self.scale.slope, self.scale.offset])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """What `arrays` gave."""
        slope, offset = arrays["scaling"].tolist()
        return cls(Networks.from_arrays(arrays), Temperature(slope, offset))


def learn_success(views: Array, yes: Array, fold: np.ndarray) -> tuple[SuccessHead, Array]:
    """A head from episodes (N, D) of which ``yes`` (N,) is 1 for a success; and their held-out chances (N,).

    Each fold's are those of networks and of a temperature that saw none of it. The head itself learned of
    all, and its temperature of all held-out ones.
    """
    networks, logits = learn(views, yes, fold)
    chances = np.zeros(len(yes))
    for part in np.unique(fold):
        out = fold == part
        chances[out] = temperature(logits[~out], yes[~out])(logits[out])
    return SuccessHead(networks, temperature(logits, yes)), chances


def success_figures(chances: Array, yes: Array, sure: float) -> dict[str, Figure]:
    """AUC, Brier, calibration error; and of those it is ``sure`` of, how many and in how many it is right."""
    said = (chances >= sure) | (chances <= 1 - sure)
    right = ((chances >= 0.5) == (yes > 0)).astype(float)
    found = figures(chances, yes)
    found["said"] = share(said.astype(float))
    if said.any():
        found["right"] = share(right[said])
    return found
