"""What may be asked of a robot: the embodiment file's limits, enforced on every command, whoever gives it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lwd_core.errors import UserError
from lwd_core.fleet.robot import Action, State
from storage_schemas.embodiment import Embodiment, Limit

RULES = ("position", "velocity", "step")


@dataclass(frozen=True)
class Limited:
    """A command within the limits, and which rule bit which dim: (3, D) bool, rows in the order of
    `RULES`."""

    action: Action
    bitten: npt.NDArray[np.bool_]

    def said(self, names: Sequence[str]) -> Mapping[str, str]:
        """The dims by the rule that bit them, for a log's event."""
        rows = zip(RULES, self.bitten, strict=True)
        return {rule: ",".join(np.array(names)[row]) for rule, row in rows if row.any()}


class Limiter:
    """Brings commands within position (of the action's dims and the section ``limits``), velocity and step.

    The rules are applied in this order, so what comes last holds: from out of range a robot comes back no
    faster than it may move.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        dims, states = embodiment.action_dims, [dim.name for dim in embodiment.state_dims]
        rules = {limit.dim: limit for limit in (embodiment.limits.dims if embodiment.limits else ())}
        own = [rules.get(dim.name, Limit(dim.name)) for dim in dims]
        self.names = tuple(dim.name for dim in dims)
        self._who = f"embodiment {embodiment.name}"
        self._low = np.array([_bound(dim.low, w.low, -1) for dim, w in zip(dims, own, strict=True)])
        self._high = np.array([_bound(dim.high, w.high, 1) for dim, w in zip(dims, own, strict=True)])
        if (self._low > self._high).any():
            bad = self.names[int(np.argmax(self._low > self._high))]
            raise UserError(
                f"{self._who}: limits of {bad}: its own range and the limit's share nothing; mend one"
            )
        hz = embodiment.control_hz
        self._tick = np.array([np.inf if w.velocity is None else w.velocity / hz for w in own])
        self._step = np.array([np.inf if w.step is None else w.step for w in own])
        self._measured = np.array([w.state is not None for w in own], dtype=bool)
        self._at = np.array([states.index(w.state) if w.state is not None else 0 for w in own], dtype=int)

    def __call__(self, action: Action, last: Action | None, state: State) -> Limited:
        """The command (D,) that is nearest to ``action`` within the limits.

        ``last``: the command before, None for the first; ``state`` (S,): what is measured now. Raises
        `UserError` for a command that is no (D,) finite numbers: no limit makes sense of it.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != self._low.shape:
            raise UserError(
                f"{self._who}: an action of shape {action.shape}, the file names {len(self.names)} dims; "
                "the policy or device is another robot's"
            )
        if not np.isfinite(action).all():
            bad = self.names[int(np.argmin(np.isfinite(action)))]
            raise UserError(f"{self._who}: the action's {bad} is no finite number; look after what drives")
        measured = state[self._at]
        before = np.where(self._measured, measured, action) if last is None else last
        middle = np.where(self._measured, measured, before)
        given, bitten = action, np.zeros((3, len(action)), dtype=bool)
        bounds = (
            (self._low, self._high),
            (before - self._tick, before + self._tick),
            (middle - self._step, middle + self._step),
        )
        for rule, (low, high) in enumerate(bounds):
            clipped = np.clip(given, low, high)
            # a bound that rounding alone puts in the way is none
            bitten[rule] = np.abs(clipped - given) > 1e-9 * np.maximum(1.0, np.abs(given))
            given = clipped
        return Limited(given, bitten)


def _bound(dims: float | None, limits: float | None, side: int) -> float:
    """The tighter of two bounds below (side -1) or above (1)."""
    return side * min(np.inf if bound is None else side * bound for bound in (dims, limits))
