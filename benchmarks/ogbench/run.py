"""Make one curve: the data once, then training with a trial of the policy every so many updates."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ogbench.data import facts, snapshot_of, task_file
from benchmarks.ogbench.judge import successes
from benchmarks.ogbench.peers import Peers, RemoteWorlds
from benchmarks.ogbench.plan import BORN, Comparison
from benchmarks.ogbench.point import POINT, PointWorlds
from benchmarks.paper.run import Silent
from lwd_core.policies.scenes import Purpose, scene_seeds
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import policy_of, train
from storage_schemas.canonical import canonical_json

Say = Callable[[str], None]


class Contest:
    """A home: data, the peers' environment, for each task a lake of its own, and a JSON file a curve."""

    def __init__(self, plan: Comparison, home: Path, peers: Peers, say: Say = print) -> None:
        self.plan, self.home, self.say = plan, home, say
        self._peers = peers
        self._place = open_location(str(home / "curves"))
        self._trials = scene_seeds(Purpose.EVALUATION, plan.trials)

    def make(self, task: str, learner: str, seed: int) -> dict[str, Any]:
        """A curve; made if it is not there, or is another plan's."""
        name, identity = f"{task}-{learner}-{seed}", self.plan.identity(task, learner)
        if self._place.exists(f"{name}.json"):
            made = json.loads(self._place.read(f"{name}.json"))
            if made["digest"] == identity:
                return made
        self.say(f"{name}: data")
        file = task_file(self.plan, task, self._peers, self.home / "data")
        self.say(f"{name}: training")
        begun, used = time.monotonic(), time.process_time()
        make = self._official if self.plan.learners[learner].released else self._ours
        curve = make(task, learner, seed, file)
        result = {
            "task": task,
            "learner": learner,
            "seed": seed,
            "digest": identity,
            "data": facts(file),
            "curve": curve,
            "seconds": round(time.monotonic() - begun, 1),
            "processor_seconds": round(time.process_time() - used, 1),
        }
        self._write(f"{name}.json", result)
        last, won, tried = curve[-1]
        self.say(f"{name}: {won} of {tried} after {last} updates, in {result['seconds']:.0f} s")
        return result

    def _official(self, task: str, learner: str, seed: int, file: Path) -> list[list[int]]:
        plan, identity = self.plan, self.plan.identity(task, learner)
        (self.home / "official").mkdir(exist_ok=True)
        job = {
            "data": str(file),
            "environment": plan.tasks[task].task,
            "reward": plan.learners[learner].reward,
            "agent": plan.agent(learner),
            "seed": seed,
            "updates": plan.updates,
            "every": plan.every,
            "trials": self._trials,
            "worlds": plan.worlds,
            "state": str(self.home / "official" / f"{task}-{seed}-{identity[:8]}.state"),
        }
        return self._peers.train(job)

    def _ours(self, task: str, learner: str, seed: int, file: Path) -> list[list[int]]:
        plan, name = self.plan, f"{learner}-{seed}"
        settings = Settings(home=str(self.home / file.stem))
        snapshot = snapshot_of(plan, task, file, settings).digest
        born = plan.run(f"{BORN}-{seed}", BORN, seed, snapshot)
        train(TrainConfig.parse(born, where=BORN), Silent(), settings)
        snapshot = snapshot_of(plan, task, file, settings, plan.learners[learner].reward).digest
        config = TrainConfig.parse(plan.run(name, learner, seed, snapshot), where=f"learner {learner}")
        points = f"{task}-{name}-{plan.identity(task, learner)[:8]}.points"
        curve: dict[str, list[int]] = {}
        if self._place.exists(points):
            curve = json.loads(self._place.read(points))
        worlds = self._worlds(plan.tasks[task].task)

        def judge(checkpoint: Checkpoint) -> None:
            update = checkpoint.about["update"]
            if str(update) not in curve:
                found = successes(worlds, _acting(checkpoint), self._trials)
                curve[str(update)] = [update, sum(found), len(found)]
                self._write(points, curve)
                self.say(f"{task}-{name}: update {update}: {sum(found)} of {len(found)}")

        try:
            train(config, Silent(), settings, publish=judge)
        finally:
            worlds.close()
        return sorted(curve.values())

    def _worlds(self, environment: str) -> PointWorlds | RemoteWorlds:
        count = self.plan.worlds
        return PointWorlds(count) if environment == POINT else RemoteWorlds(self._peers, environment, count)

    def _write(self, name: str, value: object) -> None:
        with self._place.write(name) as out:
            out.write(canonical_json(value))


def _acting(checkpoint: Checkpoint) -> Callable[[np.ndarray], np.ndarray]:
    policy = policy_of(checkpoint).eval()
    told = checkpoint.state["embeddings"][:1]
    generator = torch.Generator().manual_seed(checkpoint.about["update"])

    def act(seen: np.ndarray) -> np.ndarray:
        return policy.act(torch.as_tensor(seen), told.expand(len(seen), -1), generator).numpy()

    return act
