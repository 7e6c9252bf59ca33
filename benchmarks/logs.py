"""Reading a robot's log, beside the raw read of its bytes and the reference library's readers.

    python -m benchmarks.logs [--json] [--seconds 60] [--runs 5]

A log of three cameras (25 frames/s of 34 KB each), state of 39, action of 7 and actor at 50 Hz: 155 MB for
60 s. Processor time, one thread; medians over runs taken in turn.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from google.protobuf.message import Message
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_protobuf.decoder import DecoderFactory
from mcap_protobuf.schema import build_file_descriptor_set

from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Control, Event, Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource

STATE, ACTION, HZ, FRAME, CAMERAS = 39, 7, 50, 34_400, ("left", "right", "wrist")
START, NS = 1_700_000_000_000_000_000, 1_000_000_000


class Sink:
    """Counts frames and lets them go."""

    def __init__(self) -> None:
        self.bytes = 0

    def put(self, camera: str, t_ns: int, data: bytes) -> tuple[str, int, int]:
        self.bytes += len(data)
        return "shard", self.bytes - len(data), len(data)


def write(path: Path, seconds: int) -> None:
    """The log, straight to disk."""
    random = np.random.default_rng(0)
    with path.open("wb") as f:
        writer = Writer(f, compression=CompressionType.ZSTD, chunk_size=4 << 20)
        writer.start()
        channels: dict[str, int] = {}

        def put(topic: str, message: Message, t_ns: int) -> None:
            if topic not in channels:
                schema = build_file_descriptor_set(type(message)).SerializeToString()
                number = writer.register_schema(message.DESCRIPTOR.full_name, "protobuf", schema)
                channels[topic] = writer.register_channel(topic, "protobuf", number)
            writer.add_message(channels[topic], t_ns, message.SerializeToString(), t_ns)

        put("/event", Event(kind="episode_start", attributes={"task": "stack"}), START)
        for i in range(seconds * HZ):
            t = START + i * NS // HZ
            put("/state", Vector(values=random.normal(size=STATE)), t)
            put("/action", Vector(values=random.normal(size=ACTION)), t)
            put("/actor", Control(actor="policy", policy_id="p1"), t)
            for camera in CAMERAS if i % 2 == 0 else ():
                put(f"/camera/{camera}", CompressedImage(data=random.bytes(FRAME), format="jpeg"), t)
        put("/event", Event(kind="episode_end"), START + seconds * NS)
        writer.finish()


def embodiment_text() -> str:
    """The embodiment of that log."""
    state = ", ".join(f"{{name: s{i}}}" for i in range(STATE))
    action = ", ".join(f"{{name: a{i}}}" for i in range(ACTION))
    cameras = ", ".join(f"{{name: {c}, topic: /camera/{c}}}" for c in CAMERAS)
    return f"""\
name: bench
control_hz: {HZ}
time: {{ticks: /state}}
state: [{{topic: /state, field: values, dims: [{state}]}}]
action: [{{topic: /action, field: values, dims: [{action}]}}]
cameras: [{cameras}]
actor: {{topic: /actor, field: actor, human: [human], operator: operator, policy: policy_id}}
events: {{topic: /event}}
episodes: {{boundary: events}}
"""


def raw(path: Path) -> None:
    """Every byte, nothing done to it."""
    with path.open("rb") as f:
        while f.read(4 << 20):
            pass


def reference(path: Path) -> None:
    """The reference library: checksums and decoding, no alignment, nothing kept."""
    with path.open("rb") as f:
        reader = make_reader(f, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for _ in reader.iter_decoded_messages():
            pass


def ours(path: Path) -> None:
    """Checksums, decoding, alignment, Arrow tables, frames handed on."""
    embodiment = parse_embodiment(embodiment_text())
    content = read_log(LogSource(str(path)), {embodiment.name: embodiment}, Sink())
    if content.salvaged or len(content.episodes) != 1:
        raise SystemExit(f"the benchmark's log was not read whole: {content.salvaged}")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    ways: dict[str, Callable[[Path], None]] = {"read_log": ours, "raw read": raw, "mcap library": reference}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.mcap"
        write(path, chosen.seconds)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours(path)  # memory is measured before the peers run; also warms the page cache
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        for _ in range(chosen.runs):
            for name, way in ways.items():
                start = time.process_time()
                way(path)
                taken[name].append(time.process_time() - start)
        size = path.stat().st_size
    medians = {name: statistics.median(times) for name, times in taken.items()}
    result = {
        "bytes": size,
        "cpu_seconds": medians,
        "spread": {name: [min(times), max(times)] for name, times in taken.items()},
        "ratio_to_raw": medians["read_log"] / medians["raw read"],
        "ratio_to_library": medians["read_log"] / medians["mcap library"],
        "memory_grown_mb": grown / 1024,
    }
    if chosen.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{size / 1e6:.0f} MB, {chosen.seconds} s of robot time, memory grown by {grown / 1024:.0f} MB")
    for name, times in taken.items():
        print(f"  {name:<14} {medians[name]:.3f} CPU-s  ({min(times):.3f} … {max(times):.3f})")
    print(f"  read_log is {result['ratio_to_library']:.2f} × the library, {result['ratio_to_raw']:.1f} × raw")


if __name__ == "__main__":
    main()
