"""Robots of different widths and one policy: their states padded, dims they have not masked and left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_core.errors import UserError


@dataclass(frozen=True)
class Padded:
    """States (B, S) as wide as the network's, the rest zeros as in training; ``mask`` (B, D), 1 on the
    ``width`` dims of action that the robot has, None where it has all."""

    states: npt.NDArray[np.float32]
    mask: npt.NDArray[np.float32] | None
    width: int


class Widths:
    """How wide the states and actions of the robots are that a policy learned from.

    A robot is known by its embodiment's name, or where it isn't told by how wide its states are.
    """

    def __init__(self, embodiments: Mapping[str, Mapping[str, int]], state: int, action: int) -> None:
        """``embodiments``: a bundle's; ``state``, ``action``: the network's own, the widest robot's."""
        self._state, self._action, self._own = state, action, embodiments
        self._actions: dict[int, set[int]] = {}
        for own in embodiments.values():
            self._actions.setdefault(own["state"], set()).add(own["action"])
        self._actions.setdefault(state, {action})  # what it learned from before this run

    def pad(self, states: npt.NDArray[np.floating[Any]], who: str, embodiment: str = "") -> Padded:
        """States (B, S) of one robot's width; ``who`` stands for the policy in errors.

        Raises UserError for states of a width nobody had, and, where their ``embodiment`` isn't told, of one
        that two robots shared whose actions differ.
        """
        have = states.shape[-1] if states.ndim == 2 else -1
        actions = self._actions.get(have, set())
        if (named := self._own.get(embodiment)) and named["state"] == have:
            actions = {named["action"]}
        if not actions:
            known = " or ".join(map(str, sorted(self._actions)))
            raise UserError(
                f"{who}: takes states of {known} numbers, got {states.shape[-1]}; check the robot's "
                "embodiment file"
            )
        if len(actions) > 1:
            raise UserError(
                f"{who}: it learned from robots with states of {have} numbers and actions of "
                f"{' or '.join(map(str, sorted(actions)))}, and can't tell which this is; say whose they are"
            )
        (width,) = actions
        padded = np.zeros((len(states), self._state), np.float32)
        padded[:, :have] = states
        mask = None
        if width < self._action:
            mask = np.zeros((len(states), self._action), np.float32)
            mask[:, :width] = 1
        return Padded(padded, mask, width)
