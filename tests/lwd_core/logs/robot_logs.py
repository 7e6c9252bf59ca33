"""Log files as robots write them, made for tests."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from google.protobuf.timestamp_pb2 import Timestamp
from mcap.writer import CompressionType, Writer
from mcap_protobuf.schema import build_file_descriptor_set

from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Control, Event, Vector

PERIOD = 20_000_000
START = 1_700_000_000_000_000_000

ARM = parse_embodiment("""\
name: arm
control_hz: 50
match: {embodiment: arm}
time: {ticks: /state}
state:
  - {topic: /state, field: values, dims: [{name: a, unit: rad}, {name: b, unit: rad}, {name: c, unit: m}]}
action:
  - {topic: /action/executed, field: values, dims: [{name: u, low: -1, high: 1}, {name: v, low: -1, high: 1}]}
proposed:
  - {topic: /action/proposed, field: values, dims: [{name: u}, {name: v}]}
cameras:
  - {name: wrist, topic: /camera/wrist}
actor: {topic: /actor, human: [human], operator: operator, policy: policy_id}
events: {topic: /event}
episodes: {boundary: events}
""")


class Sink:
    """A frame sink in memory."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, int, bytes]] = []
        self.at = 0

    def put(self, camera: str, t_ns: int, data: bytes) -> tuple[str, int, int]:
        self.frames.append((camera, t_ns, data))
        self.at += len(data)
        return "shard-0.tar", self.at - len(data), len(data)


def stamp(t_ns: int) -> Timestamp:
    return Timestamp(seconds=t_ns // 10**9, nanos=t_ns % 10**9)


class Log:
    """Writes one MCAP file in memory."""

    def __init__(self, facts: dict[str, str] | None = None, **options: Any) -> None:
        self.buffer = io.BytesIO()
        defaults: dict[str, Any] = {"compression": CompressionType.ZSTD, "chunk_size": 4096}
        self.writer = Writer(self.buffer, **{**defaults, **options})
        self.writer.start(profile="lwd")
        if facts is not None:
            self.writer.add_metadata("lwd.robot", facts)
        self._channels: dict[tuple[str, str], int] = {}

    def channel(self, topic: str, name: str, encoding: str, message_encoding: str, schema: bytes) -> int:
        if (topic, name) not in self._channels:
            schema_id = self.writer.register_schema(name, encoding, schema)
            self._channels[topic, name] = self.writer.register_channel(topic, message_encoding, schema_id)
        return self._channels[topic, name]

    def write(self, topic: str, message: Any, t_ns: int, publish_ns: int | None = None) -> None:
        """A protobuf message."""
        kind = type(message).DESCRIPTOR.full_name
        if (topic, kind) not in self._channels:
            schema = build_file_descriptor_set(type(message)).SerializeToString()
            self.channel(topic, kind, "protobuf", "protobuf", schema)
        self.raw(self._channels[topic, kind], message.SerializeToString(), t_ns, publish_ns)

    def raw(self, channel: int, payload: bytes, t_ns: int, publish_ns: int | None = None) -> None:
        self.writer.add_message(channel, t_ns, payload, t_ns if publish_ns is None else publish_ns)

    def finish(self) -> bytes:
        self.writer.finish()
        return self.buffer.getvalue()


def vectors(steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (T+1, 3), executed and proposed actions (T, 2), exactly representable as float32."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(steps + 1, 3)).astype(np.float32).astype(np.float64)
    executed, proposed = rng.uniform(-1, 1, size=(2, steps, 2)).astype(np.float32).astype(np.float64)
    return state, executed, proposed


def write_episode(
    log: Log,
    steps: int,
    *,
    start: int = START,
    seed: int = 0,
    human: Callable[[int], bool] = lambda i: False,
    outcome: str = "success",
    end: str = "terminated",
    final_state: bool = True,
    camera_every: int = 0,
    task: str = "stack",
) -> None:
    """An episode of the arm, one message a topic and tick, as a simulated robot records it."""
    state, executed, proposed = vectors(steps, seed)
    said = {"task": task, "instruction": f"please {task}", "source": "rollout", "seed": str(seed)}
    log.write("/event", Event(timestamp=stamp(start), kind="episode_start", attributes=said), start)
    for i in range(steps):
        t = start + i * PERIOD
        if i and human(i) != human(i - 1):
            kind = "intervention_on" if human(i) else "intervention_off"
            why = {"reason": "no_progress", "operator": "ann"} if human(i) else {}
            log.write("/event", Event(timestamp=stamp(t), kind=kind, attributes=why), t)
        log.write("/state", Vector(timestamp=stamp(t - 1000), values=state[i]), t, t - 500)
        log.write("/action/proposed", Vector(timestamp=stamp(t), values=proposed[i]), t)
        log.write("/action/executed", Vector(timestamp=stamp(t), values=executed[i]), t)
        actor = Control(
            timestamp=stamp(t),
            actor="human" if human(i) else "policy",
            policy_id="p1",
            operator="ann" if human(i) else "",
        )
        log.write("/actor", actor, t)
        if camera_every and i % camera_every == 0:
            shown = CompressedImage(timestamp=stamp(t), data=picture(i), format="jpeg")
            log.write("/camera/wrist", shown, t)
    last = start + steps * PERIOD
    if final_state:
        log.write("/state", Vector(timestamp=stamp(last - 1000), values=state[steps]), last, last - 500)
    if outcome in ("success", "failure"):
        log.write("/event", Event(timestamp=stamp(last), kind=outcome), last)
    log.write("/event", Event(timestamp=stamp(last), kind="episode_end", attributes={"end": end}), last)


def picture(tick: int) -> bytes:
    """What the camera shows at a tick."""
    return simplejpeg.encode_jpeg(np.random.default_rng(tick).integers(0, 256, (24, 24, 3), np.uint8))


def episode_log(steps: int = 40, facts: dict[str, str] | None = None, **options: Any) -> bytes:
    """One whole log of one episode."""
    log = Log({"robot_id": "r1", "site": "lab", "embodiment": "arm", "software": "7"} | (facts or {}))
    write_episode(log, steps, **options)
    return log.finish()


def saved(folder: Path, data: bytes, name: str = "log.mcap") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)
