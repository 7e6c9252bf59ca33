"""The robot's side: jitter of control, cost of recording, a killed robot's log, waiting for a server.

    python -m benchmarks.edge [--json] [--parts control,recording,salvage,server] [--seconds 20] [--runs 3]
                              [--hz 30,80,200] [--realtime]

``control``: how late ticks begin while a policy acts and everything is recorded. A robot of 39 state dims
and 4 action dims that answers at once, a policy of the demo's size (chunks of 16, one core) in its thread,
limits, watchdog, log on disk. How long after it was due a tick began, in microseconds; `bare` is the same of
a loop that does nothing, in turn with the other, so that what the machine itself is late by can be told
apart; `--realtime` takes a real-time priority first, as `chrt -f 1` does, so that others' work makes nothing
late. `held` is the share of ticks for which the plan came too late.

``recording`` (`benchmarks.edge_recording`): three cameras and 200 Hz, once. ``salvage``
(`benchmarks.edge_salvage`): ``--runs`` kills. ``server`` (`benchmarks.serve`): 1, 4 and 16 robots.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks import edge_recording, edge_salvage, serve
from benchmarks.edge_arm import DIMS, STATE, Arm, arm_file
from lwd_core.fleet.control import Control
from lwd_core.fleet.pace import Pace, WallTime
from lwd_core.fleet.planner import WhenLate
from lwd_core.fleet.rig import ControlRules, Rig
from lwd_core.fleet.robot import Chunk, RobotSpec
from lwd_core.fleet.task import Job, Task
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.policies.inputs import Randomness, Shown, drawn
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from storage_schemas.vocabulary import Source

PARTS = ("control", "recording", "salvage", "server")
CHUNK, TEXT = 16, 384


class Acting:
    """The demo's network with random weights, as robots run it."""

    policy_id = "bench"
    cameras = ()
    sizes: dict[str, list[tuple[int, int]]] = {}  # noqa: RUF012

    def __init__(self) -> None:
        config = PolicyConfig(FieldConfig(EncoderConfig(STATE), DIMS, CHUNK))
        self._model = FlowPolicy(config).eval()
        self.ms: list[float] = []

    def act(
        self,
        states: npt.NDArray[np.float32],
        instructions: list[str],
        generator: Randomness,
        frames: Sequence[Shown] | None = None,
        embodiment: str = "",
    ) -> Chunk:
        """A chunk (1, H, D)."""
        began = time.perf_counter()
        noise = drawn(generator, self._model.noise_shape, len(states))
        with torch.inference_mode():
            chunk = self._model(torch.as_tensor(states), torch.zeros(1, TEXT), torch.as_tensor(noise)).numpy()
        self.ms.append((time.perf_counter() - began) * 1e3)
        return np.clip(chunk, -1, 1)


def acting(hz: float, seconds: float, policy: Acting, folder: Path, number: int) -> dict[str, float]:
    """One episode; what its log says of the loop."""
    task = Task("bench", max(1, round(hz * seconds)), ("move",))
    notes: dict[str, str] = {}

    class Told(Control):
        def _measured(self, course: Any, fault: BaseException | None, pace: Pace) -> Mapping[str, str]:
            notes.update(super()._measured(course, fault, pace))
            return notes

    rig = Rig(Arm(hz, cameras=0), parse_embodiment(arm_file(hz, ())))
    control = Told(rig, RobotSpec("b", "b"), ControlRules(WhenLate.CONTINUE))
    take = control.run(Job(task, "move", number, Source.ROLLOUT), policy, folder)
    assert take.ran
    return {
        "p50": float(notes["jitter_us_p50"]),
        "p99": float(notes["jitter_us_p99"]),
        "most": float(notes["jitter_us_most"]),
        "overruns": float(notes["overruns"]),
        "held": float(notes.get("held_ticks", 0)) / take.ran.steps,
    }


def bare(hz: float, seconds: float) -> dict[str, float]:
    """The rate alone."""
    pace = Pace(hz, WallTime())
    pace.start()
    for _ in range(max(1, round(hz * seconds))):
        pace.wait()
    found = pace.measured()
    return {"p50": float(found["jitter_us_p50"]), "p99": float(found["jitter_us_p99"])}


def control(hz: Sequence[float], seconds: float, runs: int) -> dict[str, Any]:
    """A row for each rate, and what a plan takes, ms."""
    policy = Acting()
    rows: list[dict[str, float]] = []
    policy.act(np.zeros((1, STATE), np.float32), ["move"], np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        for rate in hz:
            took = [
                (bare(rate, seconds), acting(rate, seconds, policy, Path(folder), i)) for i in range(runs)
            ]
            row = {f"bare_{name}": float(np.median([b[name] for b, _ in took])) for name in took[0][0]}
            row |= {name: float(np.median([a[name] for _, a in took])) for name in took[0][1]}
            rows.append({"hz": rate, "ticks": round(rate * seconds) * runs} | row)
    return {"control": rows, "plan_ms": float(np.median(policy.ms[1:])), "plans": len(policy.ms) - 1}


def heard(row: dict[str, Any]) -> dict[str, Any]:
    """``row``, said on standard error at once: what comes later may break off."""
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--parts", default=",".join(PARTS))
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--hz", default="30,80,200")
    options.add_argument("--robots", default="1,4,16")
    options.add_argument("--realtime", action="store_true")
    chosen = options.parse_args(arguments)
    parts = chosen.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        options.error(f"--parts {','.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "server" in parts:
            robots = [int(number) for number in chosen.robots.split(",")]
            found["server"] = serve.rows(robots, chosen.seconds, 10, str(folder / "server"))
        if "salvage" in parts:
            found["salvage"] = [
                heard(edge_salvage.measure(row, folder / f"{number}-{run}", min(max(chosen.seconds, 2), 5)))
                for number, row in enumerate(edge_salvage.ROWS)
                for run in range(chosen.runs)
            ]
        if "recording" in parts:
            found["recording"] = [
                heard(edge_recording.measure(row, folder, chosen.seconds, 200, chosen.realtime))
                for row in edge_recording.ROWS
            ]
    if "control" in parts:  # last: the priority stays with this process and its children
        if chosen.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        found |= control([float(hz) for hz in chosen.hz.split(",")], chosen.seconds, chosen.runs)
    if chosen.json:
        print(json.dumps(found))
    else:
        show(found)


def show(found: Mapping[str, Any]) -> None:
    """Lines for people."""
    print(f"load {found['load']:.1f}")
    if "control" in found:
        print(f"a plan takes {found['plan_ms']:.1f} ms (median of {found['plans']})")
        print("   hz  ticks   bare p50      p99   acting p50      p99     most   overruns    held")
        for r in found["control"]:
            print(
                "{hz:5.0f} {ticks:6d} {bare_p50:8.0f} µs {bare_p99:8.0f} {p50:9.0f} µs {p99:8.0f} "
                "{most:8.0f} {overruns:10.0f} {held:7.4f}".format(**r)
            )
    for r in found.get("recording", ()):
        print(
            "{row:12} {cpu:.3f} of a core, {rss_mb:.0f} MB at most ({grown_mb:.1f} grown), "
            "{log_mb_s:.2f} MB/s; "
            "{steps} steps, {steps_dropped} dropped; {pictures} pictures of {picture_kb:.0f} KB, "
            "{pictures_dropped} dropped, {unseen} unseen".format(**r)
        )
    for r in found.get("salvage", ()):
        print(
            "{row:22} uploaded {seconds:.1f} s after the kill ({mb:.1f} MB, {cpu_s:.1f} s of "
            "processor time); "
            "{state} {end}: {steps} of {acts} steps, {lost} lost ({lost_s:.2f} s)".format(**r)
        )
    if "server" in found:
        serve.show(found["server"])


if __name__ == "__main__":
    main()
