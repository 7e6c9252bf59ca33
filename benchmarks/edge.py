"""The robot's side: how late control ticks begin while a policy acts and everything is recorded.

    python -m benchmarks.edge [--json] [--seconds 20] [--runs 3] [--hz 30,80,200] [--realtime]

A robot of 39 state dims and 4 action dims that answers at once, a policy of the demo's size (chunks of 16,
one core) in its thread, limits, watchdog, log on disk. How long after it was due a tick began, in
microseconds; `bare` is the same of a loop that does nothing, in turn with the other, so that what the machine
itself is late by can be told apart; `--realtime` takes a real-time priority first, as `chrt -f 1` does, so
that others' work makes nothing late. `held` is the share of ticks for which the plan came too late.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.policy import DIMS, STATE
from lwd_core.fleet.control import Control, ControlRules, Rig
from lwd_core.fleet.pace import Pace, WallTime
from lwd_core.fleet.planner import WhenLate
from lwd_core.fleet.robot import Action, Chunk, Observed, RobotSpec
from lwd_core.fleet.task import Job, Task
from lwd_core.policies.inputs import Randomness, Shown, drawn
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from storage_schemas.embodiment import Dim, Embodiment, Feature, Limit, SafetyLimits
from storage_schemas.vocabulary import Source

CHUNK, TEXT = 16, 384


class AtOnce:
    """A robot that answers at once."""

    def __init__(self, hz: float) -> None:
        self.control_hz = hz
        self._state = np.zeros(STATE)

    def connect(self) -> None:
        """Nothing to open."""

    def observe(self) -> Observed:
        """Where it was told to go."""
        return Observed(self._state.copy(), time.time_ns())

    def act(self, action: Action) -> None:
        """Go there."""
        self._state[:DIMS] = action

    def stop(self) -> None:
        """It stands."""

    def close(self) -> None:
        """Nothing to free."""


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
    ) -> Chunk:
        """A chunk (1, H, D)."""
        began = time.perf_counter()
        noise = drawn(generator, self._model.noise_shape, len(states))
        with torch.inference_mode():
            chunk = self._model(torch.as_tensor(states), torch.zeros(1, TEXT), torch.as_tensor(noise)).numpy()
        self.ms.append((time.perf_counter() - began) * 1e3)
        return np.clip(chunk, -1, 1)


def embodiment(hz: float) -> Embodiment:
    """Position, velocity and step are all enforced."""
    state = Feature("/state", tuple(Dim(f"s{i}") for i in range(STATE)), "values")
    action = Feature("/action/executed", tuple(Dim(f"a{i}", low=-1, high=1) for i in range(DIMS)), "values")
    limits = tuple(Limit(f"a{i}", velocity=5, step=0.5, state=f"s{i}") for i in range(DIMS))
    return Embodiment("bench", hz, (state,), (action,), limits=SafetyLimits(limits))


def acting(hz: float, seconds: float, policy: Acting, folder: Path, number: int) -> dict[str, float]:
    """One episode; what its log says of the loop."""
    task = Task("bench", max(1, round(hz * seconds)), ("move",))
    notes: dict[str, str] = {}

    class Told(Control):
        def _measured(self, course: Any, fault: BaseException | None, pace: Pace) -> Mapping[str, str]:
            notes.update(super()._measured(course, fault, pace))
            return notes

    control = Told(Rig(AtOnce(hz), embodiment(hz)), RobotSpec("b", "b"), ControlRules(WhenLate.CONTINUE))
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


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--hz", default="30,80,200")
    options.add_argument("--realtime", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    policy = Acting()
    rows: list[dict[str, float]] = []
    policy.act(np.zeros((1, STATE), np.float32), ["move"], np.random.default_rng(0))
    if chosen.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    with tempfile.TemporaryDirectory() as folder:
        for hz in map(float, chosen.hz.split(",")):
            runs = [
                (bare(hz, chosen.seconds), acting(hz, chosen.seconds, policy, Path(folder), i))
                for i in range(chosen.runs)
            ]
            row = {f"bare_{name}": float(np.median([b[name] for b, _ in runs])) for name in runs[0][0]}
            row |= {name: float(np.median([a[name] for _, a in runs])) for name in runs[0][1]}
            rows.append({"hz": hz, "ticks": round(hz * chosen.seconds) * chosen.runs} | row)
    load, plan = os.getloadavg()[0], float(np.median(policy.ms[1:]))
    if chosen.json:
        print(json.dumps({"control": rows, "plan_ms": plan, "load": load}))
        return
    print(f"a plan takes {plan:.1f} ms (median of {len(policy.ms) - 1}); load {load:.1f}")
    print("   hz  ticks   bare p50      p99   acting p50      p99     most   overruns    held")
    for r in rows:
        print(
            "{hz:5.0f} {ticks:6d} {bare_p50:8.0f} µs {bare_p99:8.0f} {p50:9.0f} µs {p99:8.0f} {most:8.0f} "
            "{overruns:10.0f} {held:7.4f}".format(**r)
        )


if __name__ == "__main__":
    main()
