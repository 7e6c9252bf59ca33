"""Make one cell: its fleet days, its snapshots, its training, its evaluation; each step once."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.paper.plan import DEMONSTRATIONS, Cell, Day, Plan, calendar, cell_digest, cells
from lwd_core.errors import UserError
from lwd_core.features.build import build_features
from lwd_core.features.extractor import extractor_of
from lwd_core.fleet.actor import demonstration_seeds, run_fleet
from lwd_core.fleet.config import FleetConfig, sample_fleet
from lwd_core.fleet.evaluate import evaluate
from lwd_core.fleet.supervisor import Supervisor
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.channel_file import current
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import trusted_keys
from lwd_core.policies.scenes import Purpose, scene_seeds, training_seeds
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import resolve
from lwd_core.training.config import TrainConfig
from lwd_core.training.online import Publisher
from lwd_core.training.run import find_checkpoint, train
from storage_schemas.canonical import canonical_json
from storage_schemas.vocabulary import Channel, Source

Say = Callable[[str], None]


@dataclass(frozen=True)
class Silent:
    """A training reporter that says nothing."""

    def log(self, update: int, metrics: dict[str, float]) -> None:
        """Nothing."""


class Bench:
    """One seed's home: a lake, its snapshots, runs, policies, and a JSON file a cell."""

    def __init__(self, plan: Plan, seed: int, home: Path, say: Say = print) -> None:
        self.plan, self.seed, self.say = plan, seed, say
        self.settings = Settings(home=str(home))
        self._cells = {cell.name: cell for cell in cells(plan)}
        self._calendar = calendar(plan)
        self._place = open_location(str(home / "cells"))
        self._workcells = Workcells(plan.robot)
        self._workcells.install(self.settings.embodiments)
        self._lake = Lake.open(self.settings.lake, create=True)

    def make(self, name: str) -> dict[str, Any]:
        """The cell's result; made if it is not there, or is another plan's."""
        cell = self._cells[name]
        identity = cell_digest(self.plan, cell)
        if self._place.exists(f"{name}.json"):
            made = json.loads(self._place.read(f"{name}.json"))
            if made["digest"] == identity:
                return made
        for below in {cell.init, *(day.acts for day in (*cell.days, *cell.online))} - {None}:
            self.make(str(below))
        begun = time.monotonic()
        self._day(DEMONSTRATIONS, "", self._demonstrate)
        for day in (*cell.days, *cell.online):
            acts = cell_digest(self.plan, self._cells[day.acts])
            self._day(day.name, acts, lambda day=day: self._work(day))
        self.say(f"{name}: training")
        config = self._config(cell)
        self._look(config)
        train(config, Silent(), self.settings)
        result = {
            "name": name,
            "title": cell.title,
            "part": cell.part,
            "stage": cell.stage,
            "seed": self.seed,
            "digest": identity,
            "robots": [day.robots for day in (*cell.days, *cell.online)],
            "human": self._human([day.name for day in (*cell.days, *cell.online)]),
            "seconds": 0.0,
            **self.judge(name),
        }
        result["seconds"] = round(time.monotonic() - begun, 1)
        with self._place.write(f"{name}.json") as file:
            file.write(canonical_json(result))
        self.say(f"{name}: success {result['success']:.3f} in {result['seconds']:.0f} s")
        return result

    def _day(self, name: str, acts: str, happen: Callable[[], None]) -> None:
        """A day happens once; what it lands again after a kill is the same to the byte."""
        marker = f"{name}.day"
        if self._place.exists(marker):
            if self._place.read(marker).decode() != acts:
                raise UserError(f"{self.settings.home}: day {name} was another policy's; give another --home")
            return
        self.say(f"day {name}")
        happen()
        known = load_embodiments(self.settings.embodiments)
        ingest(self._lake, self.settings, [self.settings.landing], embodiments=known, now_ns=time.time_ns())
        with self._place.write(marker) as file:
            file.write(acts.encode())

    def _demonstrate(self) -> None:
        plan, own = self.plan, self._workcells
        for kind in ("short", "long"):
            tasks, count = getattr(plan.tasks, kind), getattr(plan.demonstrations, kind)
            if not tasks:
                continue
            run = f"paper/{self.seed}/{kind}"
            run_fleet(
                self.settings,
                self._fleet(plan.robots, tasks),
                day=self._calendar[DEMONSTRATIONS],
                policy=None,
                seeds=demonstration_seeds(tasks, run, count, robot=plan.robot, cells=own),
                source=Source.DEMONSTRATION,
                words=plan.words,
                cells=own,
            )

    def _work(self, day: Day) -> None:
        """Robots run what is in production, and that is the policy this day is about."""
        plan, policy = self.plan, self._released(day.acts)
        total = day.robots * day.shift.episodes
        counts = {t: len(range(i, total, len(plan.names))) for i, t in enumerate(plan.names)}
        run = f"paper/{self.seed}/{day.name}"
        run_fleet(
            self.settings,
            self._fleet(day.robots, plan.names),
            day=self._calendar[day.name],
            policy=policy,
            seeds={task: training_seeds(f"{run}/{task}", count) for task, count in counts.items()},
            source=Source.ROLLOUT if day.name == "offline" else Source.ONLINE,
            supervisor=Supervisor(**plan.supervisor, rate=day.shift.watched),
            words=plan.words,
            cells=self._workcells,
        )

    def _human(self, days: Sequence[str]) -> float:
        """The share of these days' ticks that a person drove."""
        told = self._lake.sql(
            "select coalesce(sum(human_steps) / sum(steps), 0) as share from episodes "
            "where list_contains(?, day)",
            [[self._calendar[name] for name in days]],
        )
        return round(float(told["share"][0].as_py()), 4)

    def _fleet(self, robots: int, tasks: Sequence[str]) -> FleetConfig:
        plan = self.plan
        return sample_fleet(
            tasks,
            robots=robots,
            sites=plan.sites,
            cameras=robots,
            camera_hz=plan.camera_hz,
            camera_size=plan.camera_size,
            robot=plan.robot,
        )

    def _config(self, cell: Cell) -> TrainConfig:
        old = [DEMONSTRATIONS, *(day.name for day in cell.days)]
        value: dict[str, Any] = {
            **cell.settings,
            "run": cell.name,
            "stage": cell.stage,
            "init": cell.init,
            "seed": self.seed,
            "offline": self._snapshot(old),
            "online": self._snapshot([day.name for day in cell.online]) if cell.online else None,
        }
        return TrainConfig.parse(value, where=f"cell {cell.name}")

    def _look(self, config: TrainConfig) -> None:
        """Make the features that the cell's networks see by, of frames that have none yet."""
        vision = config.network.vision
        if vision is not None and vision.pretrained is not None:
            done = build_features(self._lake, extractor_of(vision), cameras=vision.cameras)
            self.say(f"{done.layer}: {done.frames} frames looked at, {len(done.faults)} faults")

    def _snapshot(self, days: Sequence[str]) -> str:
        asked = {
            "name": "+".join(days),
            "days": [self._calendar[name] for name in days],
            **self.plan.snapshot,
        }
        spec = SnapshotSpec.parse(asked)
        return build_snapshot(self._lake, spec, self.settings.snapshots, now_ns=time.time_ns()).digest

    def _released(self, name: str) -> Policy:
        """A cell's policy, published and read back as robots read it."""
        Publisher(self.settings, Channel.PRODUCTION)(find_checkpoint(self.settings.checkpoints, name))
        trusted = trusted_keys(self.settings.keys)
        release = current(self.settings.releases, Channel.PRODUCTION, trusted)
        assert release is not None
        policy = Policy.load(resolve(self.settings.policies, release.policy_id), trusted)
        acts = policy.manifest.config["run"]
        if acts != name:
            raise UserError(
                f"{self.settings.home}: another process has just published {acts}; let one at a time work on "
                "a seed"
            )
        return policy

    def judge(self, name: str) -> dict[str, Any]:
        """A cell's policy, in evaluation scenes; its rows also go to ``evaluations``."""
        policy = self._released(name)
        judged = self.plan.evaluation
        seeds = scene_seeds(Purpose.EVALUATION, judged.episodes_per_task, first=judged.first_scene)
        rows = evaluate(
            policy,
            self.plan.names,
            seeds,
            now_ns=time.time_ns(),
            robot=self.plan.robot,
            cells=self._workcells,
            camera_size=self.plan.camera_size,
            words=judged.words,
        )
        self._lake.replace("evaluations", rows, {"policy_id": [policy.policy_id]})
        told = rows.to_pylist()
        return {
            "policy_id": policy.policy_id,
            "success": sum(row["success"] for row in told) / len(told),
            "tasks": {task: _of_task([r for r in told if r["task"] == task]) for task in self.plan.names},
        }


def _of_task(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "trials": len(rows),
        "successes": sum(row["success"] for row in rows),
        "steps_of_successes": sorted(row["steps"] for row in rows if row["success"]),
    }
