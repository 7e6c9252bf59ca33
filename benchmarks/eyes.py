"""What it costs a fleet to see: steps a CPU-second with cameras, beside the same fleet without.

    python -m benchmarks.eyes [--runs 5] [--size 96] [--json]

Simulated robots run and record episodes of four tasks in one process, by untrained policies of the demo's
size: without a camera; with one that is logged five times a second and
looked at by nobody; and seen at each plan, by a small tower a camera. Each run takes all in turn, so that a
ratio is of one moment; given are medians over the runs and the smallest and largest.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from lwd_core.assessment.simulate import Acting
from lwd_core.fleet.actor import run_fleet
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.supervisor import Unattended
from lwd_core.fleet.workcells import Workcells
from lwd_core.policies.scenes import training_seeds
from lwd_core.rl.encoders import EncoderConfig, VisionConfig
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.settings import Settings

TASKS = ("drawer-open", "push", "door-open", "assembly")
ROBOTS = 8
WANTED = 0.4  # of the steps without a camera
#: Ticks a plan, whether it sees, frames a second that are logged beside.
CASES = {
    "blind, 5 ticks a plan": (5, False, 0.0),
    "logged at 5 Hz": (5, False, 5.0),
    "seen, 5 ticks a plan": (5, True, 0.0),
    "seen, 10 ticks a plan": (10, True, 0.0),
    "seen, 16 ticks a plan": (16, True, 0.0),
}


def policy(chunk: int, sees: bool, size: int) -> Acting:
    """An untrained one, the same each time."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    vision = VisionConfig(("corner2",), height=64, width=64) if sees else None
    field = FieldConfig(EncoderConfig(39, vision=vision), action_dim=4, chunk=chunk)
    return Acting(f"{chunk}-{sees}-{size}", FlowPolicy(PolicyConfig(field)), InstructionEncoder())


def measure(runs: int, size: int) -> dict[str, list[float]]:
    """Steps a CPU-second of every case, by run."""
    found: dict[str, list[float]] = {case: [] for case in CASES}
    acting = {case: policy(chunk, sees, size) for case, (chunk, sees, _) in CASES.items()}
    with Workcells() as cells:
        for run in range(-1, runs):  # the first makes arms and renderers
            for case, (_, _, hz) in CASES.items():
                robots = tuple(
                    RobotSpec(f"r{i}", "here", camera_hz=hz, camera_size=size) for i in range(ROBOTS)
                )
                with tempfile.TemporaryDirectory() as home:
                    begun = time.process_time()
                    result = run_fleet(
                        Settings(home=str(Path(home))),
                        FleetConfig(robots, TASKS),
                        day="2026-01-05",
                        policy=acting[case],
                        seeds=training_seeds("eyes", 2),
                        supervisor=Unattended(),
                        cells=cells,
                    )
                    if run >= 0:
                        found[case].append(result.steps / (time.process_time() - begun))
    return found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--size", type=int, default=96, help="pixels a side")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    found = measure(chosen.runs, chosen.size)
    blind = found[next(iter(CASES))]
    rows: dict[str, dict[str, float]] = {}
    for case, rates in found.items():
        ratios = [rate / without for rate, without in zip(rates, blind, strict=True)]
        rows[case] = {
            "steps_a_cpu_second": statistics.median(rates),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "runs": len(rates),
        }
    if chosen.json:
        print(json.dumps({"size": chosen.size, "wanted": WANTED, **rows}))
        return
    print(f"{chosen.size} pixels a side, {ROBOTS} robots, {chosen.runs} runs; wanted: {WANTED} of the blind")
    for case, row in rows.items():
        spread = f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        print(f"{case:24} {row['steps_a_cpu_second']:7.0f} steps a CPU-second  {row['ratio']:.2f} ({spread})")


if __name__ == "__main__":
    main()
