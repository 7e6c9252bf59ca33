"""LeRobot's own robots and teleoperators, made by LeRobot of what a person gives."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from lwd_core import UserError

INSTALL = "pip install 'lerobot>=0.4.4', with the extra of your motors, as 'lerobot[feetech]>=0.4.4'"
_MAKERS = {
    "robots": ("RobotConfig", "make_robot_from_config"),
    "teleoperators": ("TeleoperatorConfig", "make_teleoperator_from_config"),
}


def made(kind: str, type: str, given: Mapping[str, Any]) -> Any:
    """LeRobot's device of that type, not connected; ``kind`` is ``robots`` or ``teleoperators``.

    ``given`` are the fields of its configuration, cameras as mappings with their ``type``. Raises `UserError`
    where LeRobot isn't there, knows no such type, or can't read what is given.
    """
    try:
        import draccus

        package = importlib.import_module(f"lerobot.{kind}")
        base, maker = (getattr(package, name) for name in _MAKERS[kind])
    except (ImportError, AttributeError) as lack:
        raise UserError(f"LeRobot can't be imported ({lack}); {INSTALL}") from lack
    _register(package, base, type)
    for camera in _camera_types(given):
        cameras = importlib.import_module("lerobot.cameras")
        _register(cameras, cameras.CameraConfig, camera)
    try:
        return maker(draccus.decode(base, {"type": type, **given}))
    except ImportError as lack:
        raise UserError(f"LeRobot's {type} lacks a package ({lack}); {INSTALL}") from lack
    except Exception as wrong:  # whatever a configuration of theirs raises
        told = " ".join(str(wrong).split())
        raise UserError(f"LeRobot's {type} can't be made of {dict(given)}: {told}") from wrong


def connect(device: Any, calibrate: bool) -> None:
    """Connect it; one that needs a calibration and has none is a `UserError`, unless ``calibrate``."""
    asked = "calibrate" in inspect.signature(device.connect).parameters
    device.connect(**({"calibrate": calibrate} if asked else {}))
    calibrated = device.is_calibrated
    if not (calibrated() if callable(calibrated) else calibrated):
        raise UserError(
            f"{device.name} {device.id or ''}: it is not calibrated as its file says; run LeRobot's "
            "lerobot-calibrate for this type, port and id, or give calibrate=true"
        )


def numbers(features: Mapping[str, Any]) -> list[str]:
    """The keys of features that are single numbers, in order."""
    if {"dtype", "names"} <= features.keys():  # of a device that says itself as a vector
        return list(features["names"])
    return [key for key, what in features.items() if not isinstance(what, tuple)]


def cameras(features: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Height and width of each colour camera. Depth is left out: logs hold JPEG pictures."""
    shapes = {key: what for key, what in features.items() if isinstance(what, tuple)}
    return {key: (shape[0], shape[1]) for key, shape in shapes.items() if len(shape) == 3 and shape[2] == 3}


def dim(key: str) -> str:
    """What a dim of the embodiment file is called: its motor; ``x.vel`` keeps its name."""
    return key.removesuffix(".pos")


def by_name(wanted: list[str], keys: list[str], what: str) -> list[str]:
    """LeRobot's keys in the order of the file's dims. Raises `UserError` for a dim that isn't there."""
    there = {dim(key): key for key in keys}
    if missing := [name for name in wanted if name not in there]:
        raise UserError(
            f"{what} has no {', '.join(missing)}, which the embodiment file names; it has {', '.join(there)}"
        )
    return [there[name] for name in wanted]


def _register(package: Any, base: Any, type: str) -> None:
    """Import what brings a type: LeRobot's modules register theirs as they are imported."""
    lacks: list[str] = []
    found = [module.name for module in pkgutil.iter_modules(package.__path__)]
    for name in sorted(found, key=lambda name: -SequenceMatcher(None, name, type).ratio()):
        if type in base.get_known_choices():
            return
        try:
            importlib.import_module(f"{package.__name__}.{name}")
        except Exception as lack:  # of another maker's library, most likely
            lacks.append(f"{name}: {lack}")
    if type not in base.get_known_choices():
        from lerobot.utils.import_utils import register_third_party_plugins

        register_third_party_plugins()
    if type not in (known := sorted(base.get_known_choices())):
        beside = f"; not imported: {'; '.join(lacks)}" if lacks else ""
        raise UserError(f"LeRobot knows no {type} among {package.__name__}: {', '.join(known)}{beside}")


def _camera_types(given: Any) -> Iterator[str]:
    """Types of the cameras in a configuration, those of an arm within it too."""
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if key == "cameras" and isinstance(value, Mapping):
            yield from (
                camera["type"]
                for camera in value.values()
                if isinstance(camera, Mapping) and "type" in camera
            )
        else:
            yield from _camera_types(value)
