"""Are eyes needed? The same clone of the same demonstrations, with a camera and without, beside the expert.

    python -m benchmarks.sight [--tasks drawer-open,door-open,…] [--demonstrations 20] [--scenes 50]
        [--rows expert,camera,blind] [--home DIR] [--json]

Robot `sawyer-eyes`, whose state shows neither object nor goal. Everything goes through the product: raw logs,
lake, features, snapshot, trainer, bundle. Each row is judged alone in the same evaluation scenes, a policy
told in words that no demonstration was told in; success with Wilson's 95 % interval. A home that is given is
gone on with: its demonstrations are learned from as they are.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper.run import Silent
from lwd_core.features.build import build_features
from lwd_core.features.extractor import extractor_of
from lwd_core.fleet.actor import demonstration_seeds, run_fleet, solves
from lwd_core.fleet.config import sample_fleet
from lwd_core.fleet.evaluate import evaluate
from lwd_core.fleet.task import find_tasks
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.inference import Policy
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.policies.scenes import Purpose, scene_seeds
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.export import export_policy
from lwd_core.training.run import find_checkpoint, train
from storage_schemas.vocabulary import Source, Words

ROBOT, SIZE = "sawyer-eyes", 96
VISION = {
    "cameras": ["scene"],
    "height": SIZE,
    "width": SIZE,
    "features": 64,
    "pretrained": "efficientnet-lite0",
}
EXPERT = "expert"
CLONES: Mapping[str, Any] = {"camera": VISION, "blind": None}
FIRST_SCENE = 30_000  # of the evaluation range


def demonstrate(settings: Settings, lake: Lake, tasks: Sequence[str], count: int, cells: Workcells) -> None:
    """A person shows every task in ``count`` scenes, photographed every five ticks."""
    run_fleet(
        settings,
        sample_fleet(tasks, robots=4, cameras=4, camera_hz=16, camera_size=SIZE, robot=ROBOT),
        day="2026-01-05",
        policy=None,
        seeds=demonstration_seeds(tasks, "sight", count, robot=ROBOT, cells=cells),
        source=Source.DEMONSTRATION,
        words=Words.TRAIN,
        cells=cells,
    )
    known = load_embodiments(settings.embodiments)
    ingest(lake, settings, [settings.landing], embodiments=known, now_ns=time.time_ns())


def learned(
    settings: Settings, lake: Lake, tasks: Sequence[str], row: str, chunk: int, updates: int
) -> Policy:
    """The clone that sees by ``CLONES[row]``."""
    asked = {"tasks": tasks, "sources": ["demonstration"], "cameras": ["scene"], "frame_age_ms": 0}
    spec = SnapshotSpec.parse({"name": "sight", "chunk": chunk, **asked})
    config = TrainConfig.parse(
        {
            "run": f"sight-{row}",
            "stage": "sft",
            "offline": build_snapshot(lake, spec, settings.snapshots, now_ns=time.time_ns()).digest,
            "updates": updates,
            "network": {"vision": CLONES[row]},
        }
    )
    if config.network.vision is not None:
        build_features(lake, extractor_of(config.network.vision), cameras=config.network.vision.cameras)
    train(config, Silent(), settings)
    made = find_checkpoint(settings.checkpoints, config.run)
    bundle = export_policy(made, settings.policies, signing_key(settings.keys))
    return Policy.load(bundle.uri, trusted_keys(settings.keys))


def judged(policy: Policy, tasks: Sequence[str], seeds: Sequence[int], cells: Workcells) -> dict[str, Rate]:
    """A policy's success by task, and of all."""
    rows = evaluate(
        policy, tasks, seeds, now_ns=0, robot=ROBOT, cells=cells, camera_size=SIZE, words=Words.UNSEEN
    ).to_pylist()
    return rates({task: [r["success"] for r in rows if r["task"] == task] for task in tasks})


def demonstrated(tasks: Sequence[str], seeds: Sequence[int], cells: Workcells) -> dict[str, Rate]:
    """The same of the expert that demonstrates, who knows where everything is."""
    done: dict[str, list[bool]] = {}
    for task in find_tasks(cells.tasks, tasks):
        with cells.borrow(task) as cell:
            done[task.name] = [solves(cell, seed, task.limit) for seed in seeds]
    return rates(done)


def rates(done: Mapping[str, Sequence[bool]]) -> dict[str, Rate]:
    """By task, and of all."""
    every = [one for own in done.values() for one in own]
    return {task: wilson(sum(own), len(own)) for task, own in {**done, "all": every}.items()}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--tasks", default="button-press-topdown,drawer-open,door-open")
    options.add_argument("--demonstrations", type=int, default=20, help="of each task")
    options.add_argument("--scenes", type=int, default=50, help="of each task")
    options.add_argument("--chunk", type=int, default=5)
    options.add_argument("--updates", type=int, default=4000)
    options.add_argument("--rows", default=",".join((EXPERT, *CLONES)))
    options.add_argument("--home")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    tasks, found = chosen.tasks.split(","), dict[str, dict[str, Rate]]()
    seeds = scene_seeds(Purpose.EVALUATION, chosen.scenes, first=FIRST_SCENE)
    with tempfile.TemporaryDirectory() as folder, Workcells(ROBOT) as cells:
        settings = Settings(home=str(Path(chosen.home or folder).resolve()))
        cells.install(settings.embodiments)
        lake = Lake.open(settings.lake, create=True)
        if lake.version("episodes") is None:
            demonstrate(settings, lake, tasks, chosen.demonstrations, cells)
        for row in chosen.rows.split(","):
            if row == EXPERT:
                found[row] = demonstrated(tasks, seeds, cells)
                continue
            policy = learned(settings, lake, tasks, row, chosen.chunk, chosen.updates)
            found[row] = judged(policy, tasks, seeds, cells)
    if chosen.json:
        said = {row: {task: vars(rate) for task, rate in own.items()} for row, own in found.items()}
        print(json.dumps(said))
        return
    for row, own in found.items():
        for task, rate in own.items():
            print(f"{row:8} {task:22} {rate}")


if __name__ == "__main__":
    main()
