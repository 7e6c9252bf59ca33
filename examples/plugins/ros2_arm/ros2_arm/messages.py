"""ROS 2 messages to numbers and back, as an embodiment file names them. Nothing here needs ROS."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from lwd_core import UserError
from lwd_core.extend import Picture

_PART = re.compile(r"\[(\d*)\]|([^.\[\]]+)")


def at(message: Any, path: str) -> Any:
    """What lies at a path of the embodiment file: ``a.b``, ``a[2]``, ``a[].b`` (of every element)."""
    for i, part in enumerate(parts := list(_PART.finditer(path))):
        index, name = part.groups()
        if name is not None:
            message = getattr(message, name)
        elif index:
            message = message[int(index)]
        else:
            rest = "".join(p.group() if p.group()[0] == "[" else f".{p.group()}" for p in parts[i + 1 :])
            return [at(element, rest.lstrip(".")) for element in message]
    return message


def numbers(message: Any, feature: Any) -> dict[str, float]:
    """The dims of a feature that a message holds, by name; a message may hold some of them only."""
    found = {dim.name: float(at(message, dim.field)) for dim in feature.dims if dim.field}
    plain = [dim for dim in feature.dims if not dim.field]
    if not plain:
        return found
    values: Sequence[float] = at(message, feature.field)
    if feature.names_field is not None:
        by_name = dict(zip(at(message, feature.names_field), values, strict=False))
        keys = {dim.name: dim.key or dim.name for dim in plain}
        return found | {name: float(by_name[key]) for name, key in keys.items() if key in by_name}
    if len(values) < (end := feature.start + len(plain)):
        raise UserError(f"{feature.topic}: {len(values)} numbers, the file names {end}")
    return found | {dim.name: float(values[feature.start + i]) for i, dim in enumerate(plain)}


def stamp_ns(message: Any, arrived_ns: int) -> int:
    """When it was measured: its header's stamp; where it has none, when it arrived."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    told = stamp.sec * 1_000_000_000 + stamp.nanosec if stamp is not None else 0
    return told or arrived_ns


def picture(message: Any, arrived_ns: int) -> Picture:
    """A ``sensor_msgs/CompressedImage`` as a picture. Raises `UserError` for one that is no JPEG."""
    data = bytes(message.data)
    if data[:2] != b"\xff\xd8":
        raise UserError(f"a picture is {message.format or 'of an unknown format'}; have it published as jpeg")
    return Picture(data, stamp_ns(message, arrived_ns))


def command(kind: str, feature: Any, action: Sequence[float], seconds: float) -> dict[str, Any]:
    """The fields of a message that asks for an action (D,), as ``rosidl_runtime_py`` sets them.

    ``seconds``: when a trajectory's one point is to be reached. Raises `UserError` for an unknown kind.
    """
    names = [dim.key or dim.name for dim in feature.dims]
    values = [float(value) for value in action]
    match kind:
        case "sensor_msgs/msg/JointState":
            return {"name": names, "position": values}
        case "std_msgs/msg/Float64MultiArray":
            return {"data": values}
        case "trajectory_msgs/msg/JointTrajectory":
            whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
            point = {"positions": values, "time_from_start": {"sec": whole, "nanosec": rest}}
            return {"joint_names": names, "points": [point]}
    raise UserError(
        f"command {kind}: not known; use sensor_msgs/msg/JointState, std_msgs/msg/Float64MultiArray or "
        "trajectory_msgs/msg/JointTrajectory"
    )


def as_recorded(ros: Any) -> str:
    """The embodiment file of what `lwd robot run` records, from the file that names the robot's ROS topics:
    the same dims, cameras and limits, on the log's own topics; called ``NAME-live``."""
    meaning: Mapping[str, Any] = ros.meaning
    keep = ("name", "unit", "low", "high")

    def feature(topic: str, dims: Any) -> list[dict[str, Any]]:
        said = [{k: getattr(d, k) for k in keep if getattr(d, k) not in (None, "")} for d in dims]
        return [{"topic": topic, "field": "values", "dims": said}]

    name = f"{ros.name}-live"
    file: dict[str, Any] = {
        "name": name,
        "control_hz": ros.control_hz,
        "match": {"embodiment": name},
        "state": feature("/state", ros.state_dims),
        "action": feature("/action/executed", ros.action_dims),
        "proposed": feature("/action/proposed", ros.action_dims),
        "cameras": [
            {k: v for k, v in camera.items() if k != "field"} | {"topic": f"/camera/{camera['name']}"}
            for camera in meaning.get("cameras", [])
        ],
        "time": {"clock": "log", "ticks": "/state"},
        "actor": {"topic": "/actor", "human": ["human"], "operator": "operator", "policy": "policy_id"},
        "events": {"topic": "/event"},
        "episodes": {"boundary": "events"},
    }
    if ros.limits is not None:
        rules = ("dim", "low", "high", "velocity", "step", "state")
        dims = [{k: getattr(d, k) for k in rules if getattr(d, k) is not None} for d in ros.limits.dims]
        file["limits"] = {"version": 1, "dims": dims}
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(file, text)
    return text.getvalue()
