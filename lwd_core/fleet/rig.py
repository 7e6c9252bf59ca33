"""A robot in real time with what is around it, and the rules it is driven by."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lwd_core.errors import UserError, suggest
from lwd_core.fleet.planner import WhenLate
from lwd_core.fleet.robot import Buttons, Person, Press, Referee, Robot, Scene
from storage_schemas.embodiment import Embodiment


class SafeStop(UserError):
    """Why a robot was made to stand still in the middle of an episode."""


@dataclass(frozen=True)
class Rig:
    """A robot in real time with what is around it.

    ``scene``: can be set up without a person. ``referee``: tells how an episode went. ``person()`` sits down
    at the controls for one episode; None: nobody can drive. ``buttons`` are all a person may press;
    ``operator`` is who.
    """

    robot: Robot
    embodiment: Embodiment
    scene: Scene | None = None
    referee: Referee | None = None
    person: Callable[[], Person] | None = None
    buttons: tuple[Buttons, ...] = ()
    operator: str = ""

    def pressed(self) -> Iterator[Press]:
        """What was pressed since the last call. Raises `UserError` for a device that fails to say so."""
        for device in self.buttons:
            try:
                found: list[Any] = list(device.pressed())
                if strange := [press for press in found if not isinstance(press, Press)]:
                    raise TypeError(f"{strange[0]!r} is no Press")
            except UserError:
                raise
            except Exception as error:  # whatever a stranger's device raises
                told = " ".join(str(error).split())
                raise UserError(
                    f"controls {type(device).__name__}: {type(error).__name__}: {told}; "
                    "look after the device, or drive without it (`--controls`)"
                ) from error
            yield from found


@dataclass(frozen=True)
class ControlRules:
    """How a robot is driven.

    ``late``, ``ahead``, ``plan_s``: see `lwd_core.fleet.planner.Plans`. ``stale_ms``: the age of a state, and
    ``lost_ms`` of a picture that is needed, at which the robot stops. ``watchdog_ms``: the length of a tick
    at which it does. ``verdict_s``: for how long a person is asked how an episode went that nobody else
    judged.
    """

    late: WhenLate | str = WhenLate.HOLD
    ahead: int | None = None
    plan_s: float = 5.0
    stale_ms: float = 250.0
    lost_ms: float = 1000.0
    watchdog_ms: float = 1000.0
    verdict_s: float = 60.0

    def __post_init__(self) -> None:
        if self.late not in tuple(WhenLate):
            raise UserError(f"control: late {self.late!r}: no such rule{suggest(self.late, WhenLate)}")
        object.__setattr__(self, "late", WhenLate(self.late))
        for name in ("plan_s", "stale_ms", "lost_ms", "watchdog_ms"):
            if not getattr(self, name) > 0:
                raise UserError(f"control: {name} must be above 0")
        if self.ahead is not None and self.ahead < 0:
            raise UserError("control: ahead must be a number of ticks, 0 or more")
