"""Play by OGBench's script, relabelled for one task, through the lake to a snapshot: each step once."""

import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.ogbench.peers import Peers
from benchmarks.ogbench.plan import Comparison
from benchmarks.ogbench.point import POINT, play
from lwd_core.ingest.commit import ingest
from lwd_core.labels.function import label
from lwd_core.labels.labeller import run_labellers
from lwd_core.lake.episode import Episode
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import Layers, SnapshotSpec
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json

EPISODE = 1_000  # transitions, as in the published sets


def task_file(plan: Comparison, task: str, peers: Peers, folder: Path) -> Path:
    """``<task>.npz`` in OGBench's compact layout, of the seeds 0, 1, …: what every learner learns from."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = plan.tasks[task]
    path = folder / f"{asked.task}-{asked.episodes}.npz"
    if path.exists():
        return path
    if asked.task == POINT:
        with open_location(str(folder)).write(path.name) as out:
            np.savez(out, **cast(dict[str, Any], play(asked.episodes, EPISODE)))
        return path
    shards: list[Path] = []
    for seed, first in enumerate(range(0, asked.episodes, plan.shard)):
        episodes = min(plan.shard, asked.episodes - first)
        shards.append(folder / f"{asked.play}-{seed}-{episodes}.npz")
        if not shards[-1].exists():
            peers.run("generate", peers.script, asked.play, episodes, seed, shards[-1])
    peers.run("relabel", asked.task, path, *shards)
    return path


@label("cost", version=1, kind="reward")
def cost(episode: Episode) -> np.ndarray:
    """−1 a step until the goal, as OGBench rewards its single tasks."""
    return np.full(len(episode), -1.0)


def snapshot_of(
    plan: Comparison, task: str, file: Path, settings: Settings, reward: str = "goal"
) -> Snapshot:
    """All attempts of a file, as transitions of the plan's chunks; nothing is held out."""
    lake = Lake.open(settings.lake, create=True)
    _embodiment(plan, task, file, Path(settings.embodiments))
    known = load_embodiments(settings.embodiments)
    ingest(lake, settings, [str(file)], embodiments=known, now_ns=time.time_ns())
    layers = Layers()
    if reward == "cost":
        run_labellers(lake, [cost], now_ns=time.time_ns(), embodiments=known)
        layers = Layers(reward=cost.layer_id)
    spec = SnapshotSpec(name=task, chunk=plan.chunk, gamma=plan.gamma, labels=layers)
    return build_snapshot(lake, spec, settings.snapshots, now_ns=time.time_ns())


def facts(file: Path) -> dict[str, int]:
    """Transitions of a file, and how often it comes to the goal from elsewhere."""
    with np.load(file) as arrays:
        goal, acts = arrays["masks"] == 0, arrays["valids"] > 0
    arrives = goal[1:] & ~goal[:-1] & acts[:-1]
    return {"transitions": int(acts.sum()), "arrivals": int(arrives.sum())}


def _embodiment(plan: Comparison, task: str, file: Path, folder: Path) -> None:
    with np.load(file) as arrays:
        state, action = arrays["observations"].shape[1], arrays["actions"].shape[1]
    told = {
        "name": task,
        "control_hz": plan.control_hz,
        "source": "rollout",  # attempts have an outcome here; play would count as failure
        "state": [{"topic": "observations", "dims": [{"name": f"o{i}"} for i in range(state)]}],
        "action": [
            {"topic": "actions", "dims": [{"name": f"a{i}", "low": -1, "high": 1} for i in range(action)]}
        ],
        "task": {"default": task, "instruction": task},
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{task}.yaml").open("w") as out:
        out.write(canonical_json(told).decode())
