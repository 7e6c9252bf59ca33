"""Seeds of scenes, in one place: what a robot practises on is never what a policy is judged on.

A scene (where the objects stand) is drawn from one non-negative integer. The integers are
split in three ranges that cannot meet:

    training     [0, 10^9)            every recorded episode, whatever its source
    selection    [10^9, 2·10^9)       choosing between policies: gates, early stopping
    evaluation   [2·10^9, 3·10^9)     figures that are reported, and nothing else
"""

import hashlib
from enum import StrEnum

_SPAN = 1_000_000_000


class Purpose(StrEnum):
    """What a scene is used for."""

    TRAINING = "training"
    SELECTION = "selection"
    EVALUATION = "evaluation"


def scene_seeds(purpose: Purpose, count: int, *, first: int = 0) -> tuple[int, ...]:
    """``count`` seeds of a range in order, from its ``first``-th on."""
    if not 0 <= first <= first + count <= _SPAN:
        raise ValueError(f"a range of scene seeds holds {_SPAN}; asked for {count} from {first}")
    start = seed_range(purpose)[0] + first
    return tuple(range(start, start + count))


def training_seeds(run: str, count: int) -> tuple[int, ...]:
    """``count`` training seeds that belong to a run's name: the same name, the same scenes.

    Runs of other names get other scenes (as far as 10^9 seeds allow).
    """
    digests = (hashlib.sha256(f"{run}/{i}".encode()).digest() for i in range(count))
    return tuple(int.from_bytes(d[:8], "big") % _SPAN for d in digests)


def seed_range(purpose: Purpose) -> tuple[int, int]:
    """First seed of a range, and the first one behind it."""
    first = list(Purpose).index(purpose) * _SPAN
    return first, first + _SPAN


def purpose_of(seed: int) -> Purpose:
    """The range a seed lies in. Raises ValueError outside all of them."""
    if not 0 <= seed < _SPAN * len(Purpose):
        raise ValueError(f"{seed} is no scene seed")
    return list(Purpose)[seed // _SPAN]
