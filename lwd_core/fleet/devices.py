"""What a person presses and drives by, and who tells how it went: found by name, made, reached."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lwd_core.errors import UserError
from lwd_core.fleet.robot import Buttons, Controls
from lwd_core.plugins import Door
from storage_schemas.embodiment import Embodiment

#: A member is a class of `lwd_core.fleet.robot.Controls` or `lwd_core.fleet.robot.Buttons`.
CONTROLS: Door[Any] = Door(
    "lwd.controls",
    {"keys": "lwd_core.fleet.keyboard:Keyboard"},
    needs=("connect", "pressed", "close"),
    kind="controls",
)
#: A member is a class of `lwd_core.fleet.robot.Referee`, made without arguments.
REFEREES: Door[Any] = Door("lwd.referees", {}, needs=("judge",), kind="referee")


def made_controls(names: Sequence[str], given: Mapping[str, Any], embodiment: Embodiment) -> list[Buttons]:
    """The devices of these names, the first made with what is given. Raises `PluginError`."""
    found: list[Buttons] = []
    for i, name in enumerate(names):
        device = CONTROLS.made(name, **(given if i == 0 else {}))
        fit(device, embodiment)
        found.append(device)
    return found


def fit(made: object, embodiment: Embodiment) -> None:
    """Tell a robot or device that asks for it which embodiment file counts."""
    fit: Callable[[Embodiment], None] | None = getattr(made, "fit", None)
    if fit is not None:
        fit(embodiment)


def reached(connect: Callable[[], None], who: str) -> None:
    """Connect. Raises `UserError`, which names ``who``, where it can't be reached."""
    try:
        connect()
    except UserError:
        raise
    except Exception as error:  # whatever a stranger's driver raises
        raise UserError(
            f"{who} can't be connected ({type(error).__name__}: {error}); look after cable, power and port"
        ) from error


def driver(controls: Sequence[Buttons]) -> Controls | None:
    """The first device that a person can drive by."""
    return next((device for device in controls if isinstance(device, Controls)), None)
