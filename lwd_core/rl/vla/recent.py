"""What was made of a batch, kept as long as the next may ask for it too: whatever is frozen computes once."""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from lwd_core.rl.encoders import Observation

T = TypeVar("T")


class Recent(Generic[T]):
    """Of the last two observations, a batch's and the next one's."""

    def __init__(self) -> None:
        self._shelf = deque[tuple[tuple[Any, ...], T]](maxlen=2)

    def of(self, key: tuple[Any, ...], made: Callable[[], T]) -> T:
        """What was made of these very tensors, if it is among the last; else it is made, and kept."""
        for known, value in self._shelf:
            if all(a is b for a, b in zip(key, known, strict=True)):
                return value
        value = made()
        self._shelf.append((key, value))
        return value


def modes(like: Tensor) -> tuple[bool, bool]:
    """What else a frozen network's answer depends on."""
    return torch.is_inference_mode_enabled(), torch.is_autocast_enabled(like.device.type)


def spoken(observation: Observation) -> tuple[Tensor, Tensor]:
    """The tokens of an observation and which are there (B, L); ValueError where it has none."""
    if observation.tokens is None or observation.token_mask is None:
        raise ValueError("this network reads; give it tokens")
    return observation.tokens, observation.token_mask
