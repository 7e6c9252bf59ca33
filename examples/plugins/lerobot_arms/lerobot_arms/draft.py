"""A draft of an embodiment file from what a LeRobot robot says of itself; nothing is connected for it."""

import json
from collections.abc import Iterator
from typing import Any

from lerobot_arms import devices

_RANGES = {"range_m100_100": ("%", -100.0, 100.0), "range_0_100": ("%", 0.0, 100.0)}
_TAIL = """
# what `lwd robot run` records of every robot
time: {clock: log, ticks: /state}
actor: {topic: /actor, human: [human], operator: operator, policy: policy_id}
events: {topic: /event}
episodes: {boundary: events}
"""


class Draft:
    """A file that is not on a disk yet: ``read_text``, ``read_bytes``, and its ``name``."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self._text = name, text

    def read_text(self) -> str:
        return self._text

    def read_bytes(self) -> bytes:
        return self._text.encode()


def draft(robot: Any, name: str, hz: float) -> str:
    """An embodiment file for a LeRobot robot, in YAML: dims called after motors, units and ranges as they are
    normalised and calibrated, cameras, and limits to be tightened by who knows the arm."""
    state = devices.numbers(robot.observation_features)
    action = devices.numbers(robot.action_features)
    ranges = dict(_ranges(robot))
    pictures = devices.cameras(robot.observation_features)
    fps = {key: getattr(camera, "fps", None) for key, camera in getattr(robot, "cameras", {}).items()}
    lines = [
        f"# {robot.name} of LeRobot, a draft: look through ranges and limits before it moves.",
        f"name: {json.dumps(name)}",
        f"control_hz: {hz:g}",
        f"match: {{embodiment: {json.dumps(name)}}}",
        "",
        *_feature("state", "/state", state, ranges),
        *_feature("action", "/action/executed", action, ranges),
        *_feature("proposed", "/action/proposed", action, ranges),
    ]
    if pictures:
        lines.append("cameras:")
    for camera, (height, width) in pictures.items():
        rate = fps.get(camera)
        seen = f"{width} x {height}" + (f" at {rate:g} Hz" if rate else "")
        stale = round(3000 / (rate or 15))
        topic = json.dumps(f"/camera/{camera}")
        lines.append(f"  - {{name: {json.dumps(camera)}, topic: {topic}, staleness_ms: {stale}}}  # {seen}")
    lines += [
        "",
        "# enforced before the robot, whoever drives; velocities are a guess: half a range a second",
    ]
    limits = list(_limits(state, action, ranges))
    lines += ["limits:", "  version: 1", "  dims:", *limits] if limits else ["# no limits: nothing is known"]
    return "\n".join(lines) + "\n" + _TAIL


def _feature(
    what: str, topic: str, keys: list[str], ranges: dict[str, tuple[str, float, float]]
) -> list[str]:
    lines = [f"{what}:", f"  - topic: {topic}", "    field: values", "    dims:"]
    for key in keys:
        said = f"name: {json.dumps(devices.dim(key))}"
        if key in ranges:
            unit, low, high = ranges[key]
            said += f", unit: {json.dumps(unit)}, low: {low:g}, high: {high:g}"
        lines.append(f"      - {{{said}}}")
    return lines


def _limits(
    state: list[str], action: list[str], ranges: dict[str, tuple[str, float, float]]
) -> Iterator[str]:
    for key in action:
        said = f"dim: {json.dumps(devices.dim(key))}"
        if key in state:
            said += f", state: {json.dumps(devices.dim(key))}"
        if key in ranges:
            _, low, high = ranges[key]
            yield f"    - {{{said}, velocity: {(high - low) / 2:g}}}"


def _ranges(robot: Any, before: str = "") -> Iterator[tuple[str, tuple[str, float, float]]]:
    """Unit, low and high of each motor that says so, those of both arms of a pair too."""
    for side in ("left", "right"):
        if arm := getattr(robot, f"{side}_arm", None):
            yield from _ranges(arm, f"{before}{side}_")
    bus = getattr(robot, "bus", None)
    for motor, about in getattr(bus, "motors", {}).items():
        mode = str(getattr(about.norm_mode, "value", about.norm_mode))
        if mode == "degrees":
            half = _half_turn(bus, motor, about)
            yield f"{before}{motor}.pos", ("deg", -half, half)
        elif mode in _RANGES:
            yield f"{before}{motor}.pos", _RANGES[mode]


def _half_turn(bus: Any, motor: str, about: Any) -> float:
    """How far a motor goes to either side of its middle, degrees: as calibrated, else half a turn."""
    calibrated = (getattr(bus, "calibration", None) or {}).get(motor)
    resolution = (getattr(bus, "model_resolution_table", None) or {}).get(about.model)
    if calibrated is None or not resolution:
        return 180.0
    return round((calibrated.range_max - calibrated.range_min) / 2 * 360 / (resolution - 1), 2)
