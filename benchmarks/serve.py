"""How long robots wait for a policy server: 1, 4 and 16 of them, over the loopback address.

    python -m benchmarks.serve [--json] [--seconds 10] [--hz 10] [--robots 1,4,16]

The server is a process of its own (one thread of torch) and serves a network of the demo's size; the robots
are threads of another one that ask ``--hz`` times a second each, at moments of their own. Milliseconds from
before packing an observation to after unpacking its chunk, P50 and P99, n of them; ``server`` is the
server's own P50 and P99, ``together`` how many robots a batch had. Late is the share of answers that took
longer than the robot's period. Wall time, so other work on the machine counts.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, cast
from urllib.request import urlopen

import numpy as np
import torch
from websockets.sync.client import connect

from lwd_core.policies.inference import save_policy
from lwd_core.policies.keys import signing_key
from lwd_core.rl.encoders import EncoderConfig, VisionConfig
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.serve.messages import pack, unpack
from lwd_core.settings import Settings
from storage_schemas.policy import Lineage

STATE, DIMS, CHUNK, WORDS = 39, 4, 5, "open the drawer"
#: Cameras as a robot has them, and what the network sees of them.
HEIGHT, WIDTH = 480, 640


def saved(settings: Settings, vision: VisionConfig | None) -> str:
    """A signed policy with weights of chance; its folder."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    model = FlowPolicy(PolicyConfig(FieldConfig(EncoderConfig(STATE, vision=vision), DIMS, CHUNK)))
    return save_policy(
        settings.policies,
        model,
        {WORDS: torch.zeros(384)},
        embodiments={"arm": {"state": STATE, "action": DIMS}},
        config={},
        lineage=Lineage("sft", "benchmark", 0, ()),
        key=signing_key(settings.keys),
    ).uri


def robot(url: str, name: int, until: float, period: float, camera: bool, waits: list[float]) -> None:
    """Ask until it is time to stop."""
    rng = np.random.default_rng(name)
    fields: dict[str, object] = {"prompt": WORDS}
    if camera:
        fields["images/front"] = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with connect(f"{url}/?robot=robot-{name}", compression=None, max_size=None) as line:
        line.recv()
        due = time.perf_counter() + rng.uniform(0, period)
        while due < until:
            time.sleep(max(0.0, due - time.perf_counter()))
            begin = time.perf_counter()
            line.send(pack({**fields, "state": rng.standard_normal(STATE)}))
            answer = line.recv()
            if isinstance(answer, str):
                raise SystemExit(answer)
            unpack(answer)
            waits.append(time.perf_counter() - begin)
            due = max(due + period, time.perf_counter())


def measure(
    folder: str, home: str, robots: int, seconds: float, hz: float, camera: bool
) -> dict[str, object]:
    """One row: a server of its own, so that its figures are this row's."""
    command = [
        sys.executable,
        "-m",
        "lwd_core.cli.main",
        "serve",
        "--policy",
        folder,
        "--port",
        "0",
        "--json",
    ]
    environment = {**os.environ, "LWD_HOME": home, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        at = json.loads(server.stdout.readline())
        waits: list[list[float]] = [[] for _ in range(robots)]
        until = time.perf_counter() + seconds
        threads = [
            threading.Thread(target=robot, args=(at["url"], i, until, 1 / hz, camera, waits[i]))
            for i in range(robots)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with urlopen(at["status"]) as page:
            status = cast("dict[str, Any]", json.load(page))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    all_waits = 1e3 * np.array([wait for own in waits for wait in own])
    return {
        "camera": camera,
        "robots": robots,
        "n": len(all_waits),
        "p50_ms": float(np.quantile(all_waits, 0.5)),
        "p99_ms": float(np.quantile(all_waits, 0.99)),
        "late": float((all_waits > 1e3 / hz).mean()),
        "server_p50_ms": status["latency_ms"]["p50"],
        "server_p99_ms": status["latency_ms"]["p99"],
        "infer_p50_ms": status["infer_ms"]["p50"],
        "together": status["robots_a_batch"],
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--hz", type=float, default=10)
    options.add_argument("--robots", default="1,4,16")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=home)
        rows = [
            measure(saved(settings, vision), home, int(robots), chosen.seconds, chosen.hz, vision is not None)
            for vision in (None, VisionConfig(("front",)))
            for robots in chosen.robots.split(",")
        ]
    if chosen.json:
        print(json.dumps(rows))
        return
    columns = tuple(rows[0])
    print("  ".join(f"{name:>13}" for name in columns))
    for row in rows:
        print("  ".join(f"{v:>13.2f}" if isinstance(v, float) else f"{v!s:>13}" for v in row.values()))


if __name__ == "__main__":
    main()
