"""The actor loop: every robot works through its jobs, records each episode and uploads it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.batching import Attempt, run_together
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.episode import Ran, episode, recorded_day
from lwd_core.fleet.play import Exploring
from lwd_core.fleet.robot import Person, RobotPolicy, RobotSpec, Workcell
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.supervisor import Demonstrator, Supervisor, Watcher
from lwd_core.fleet.task import Job, Task, find_tasks, kept
from lwd_core.fleet.upload import Landed, Uplink, land
from lwd_core.fleet.workcells import DEFAULT, Workcells, of_robot
from lwd_core.policies.scenes import Purpose, purpose_of, training_seeds
from lwd_core.settings import Settings
from storage_schemas.canonical import digest
from storage_schemas.vocabulary import Source, Words

_NS = 1_000_000_000
_OPENING_S = 8 * 3600  # robots start work at eight, UTC
_BETWEEN_S = 20  # someone sets the scene up again


@dataclass(frozen=True)
class Delivered:
    """An episode and where its log landed."""

    episode: Ran
    log: Landed


@dataclass(frozen=True)
class FleetResult:
    """Everything a fleet did in one call."""

    delivered: tuple[Delivered, ...]

    @property
    def logs(self) -> tuple[str, ...]:
        """Where the logs lie."""
        return tuple(d.log.uri for d in self.delivered)

    @property
    def bytes(self) -> int:
        """Size of all logs."""
        return sum(d.log.bytes for d in self.delivered)

    @property
    def steps(self) -> int:
        """Control ticks of all episodes."""
        return sum(d.episode.steps for d in self.delivered)

    @property
    def human_share(self) -> float:
        """Share of ticks a person drove."""
        return sum(d.episode.human_steps for d in self.delivered) / max(self.steps, 1)

    @property
    def success(self) -> dict[str, float]:
        """Share of successful episodes by task, of those whose outcome is known; an episode a person helped
        with counts as it ended."""
        outcomes: dict[str, list[bool]] = {}
        for d in self.delivered:
            if d.episode.success is not None:
                outcomes.setdefault(d.episode.task, []).append(d.episode.success)
        return {task: float(np.mean(done)) for task, done in sorted(outcomes.items())}


def run_fleet(
    settings: Settings,
    fleet: FleetConfig,
    *,
    day: str,
    policy: RobotPolicy | None,
    seeds: Sequence[int] | Mapping[str, Sequence[int]],
    source: Source = Source.ROLLOUT,
    supervisor: Watcher | None = None,
    words: Words = Words.USUAL,
    cells: Workcells | None = None,
    progress: Callable[[Delivered], None] | None = None,
) -> FleetResult:
    """Run every task of the fleet once in every scene of ``seeds`` (for all tasks, or by task).

    Without a policy a person drives throughout: a demonstration, or play. ``supervisor`` defaults to
    ``Supervisor()``. ``day`` (YYYY-MM-DD, UTC) is when it happens. ``words``: how robots are told what to
    do; wrong ones are refused. ``cells`` are workcells of the fleet's type of robot to reuse between calls.
    The same arguments give the same logs to the byte, so doing it again lands nothing new. The robots'
    embodiment file is installed where there is none.
    """
    with of_robot(fleet.robot, cells) as pool:
        pool.install(settings.embodiments)
        jobs = _jobs(fleet, pool.tasks, seeds, source, kept(words))
        return _run(settings, fleet, pool, jobs, day, policy, supervisor or Supervisor(), progress)


def _run(
    settings: Settings,
    fleet: FleetConfig,
    pool: Workcells,
    jobs: list[Job],
    day: str,
    policy: RobotPolicy | None,
    supervisor: Watcher,
    progress: Callable[[Delivered], None] | None,
) -> FleetResult:
    watcher = Demonstrator() if policy is None else supervisor
    generator = np.random.default_rng(int(digest([day, [job.seed for job in jobs]])[:16], 16))

    def deliver(robot: RobotSpec, ran: Ran) -> Delivered:
        try:
            landed = land(
                ran.log, settings.landing, landing_folder(robot, ran.log), uplink=Uplink.of(settings, robot)
            )
        except OSError as problem:
            raise UserError(
                f"{settings.landing}: logs can't be written there ({problem}); they wait in {ran.log.parent}"
            ) from problem
        done = Delivered(ran, landed)
        if progress:
            progress(done)
        return done

    def shift(robot: RobotSpec, own: list[Job], spool: Path) -> Attempt[list[Delivered]]:
        """One robot's day: job after job, the clock running on."""
        delivered: list[Delivered] = []
        now = opening_ns(day)
        for job in own:
            with pool.borrow(job.task) as cell:
                ran = yield from episode(
                    cell,
                    robot,
                    job,
                    person=at_controls(cell, job, pool),
                    policy=policy,
                    watcher=watcher,
                    start_ns=now,
                    spool=spool / robot.robot_id,
                )
            delivered.append(deliver(robot, ran))
            now += round(ran.steps * _NS / cell.robot.control_hz) + _BETWEEN_S * _NS
        return delivered

    with claimed(settings, fleet.robots) as spool:
        shifts = (shift(robot, own, spool) for robot, own in deal(jobs, fleet.robots) if own)
        days = list(run_together(shifts, lanes=len(fleet.robots), generator=generator))
    everything = sorted(
        (d for one in days for d in one), key=lambda d: (d.episode.start_ns, d.episode.robot_id)
    )
    return FleetResult(tuple(everything))


def at_controls(cell: Workcell, job: Job, pool: Workcells) -> Person:
    """Who sits down at a workcell for a job: somebody who does the task, or plays."""
    person = cell.person()
    if job.source is Source.PLAY:
        return Exploring(person, pool.embodiment.action_dims, job.seed)
    return person


def demonstration_seeds(
    tasks: Iterable[str], run: str, count: int, *, robot: str = DEFAULT, cells: Workcells | None = None
) -> dict[str, tuple[int, ...]]:
    """For each task the first ``count`` training scenes of ``run`` in which the demonstrator succeeds.

    People throw failed demonstrations away. ``robot`` and ``cells`` as for `evaluate`. Raises UserError where
    too few scenes can be solved.
    """
    chosen: dict[str, tuple[int, ...]] = {}
    with of_robot(robot, cells) as pool:
        for task in find_tasks(pool.tasks, tasks):
            with pool.borrow(task) as cell:
                solved = (seed for seed in training_seeds(run, 10 * count) if solves(cell, seed, task.limit))
                chosen[task.name] = tuple(islice(solved, count))
            if len(chosen[task.name]) < count:
                raise UserError(
                    f"task {task.name}: the demonstrator solves too few scenes; ask for fewer than {count}"
                )
    return chosen


def deal(jobs: Sequence[Job], robots: Sequence[RobotSpec]) -> list[tuple[RobotSpec, list[Job]]]:
    """Give each robot its jobs: in turn, each round one robot further, so that tasks go round."""
    own: list[list[Job]] = [[] for _ in robots]
    for i, job in enumerate(jobs):
        own[(i + i // len(robots)) % len(robots)].append(job)
    return list(zip(robots, own, strict=True))


def landing_folder(robot: RobotSpec, log: Path) -> str:
    """``<site>/<day>/<robot>`` of a log; the day by the robot's own clock."""
    return f"{robot.site}/{recorded_day(log)}/{robot.robot_id}"


def opening_ns(day: str) -> int:
    """When robots start work on a day. Raises UserError for a text that is no day."""
    try:
        midnight = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(f"day {day!r} is no day; write it as 2026-01-31") from None
    return (int(midnight.timestamp()) + _OPENING_S) * _NS


def _jobs(
    fleet: FleetConfig,
    known: Mapping[str, Task],
    seeds: Sequence[int] | Mapping[str, Sequence[int]],
    source: Source,
    words: Words,
) -> list[Job]:
    """Scene by scene and task by task, so that tasks are spread over the day."""
    tasks = find_tasks(known, fleet.tasks)
    scenes = {t.name: tuple(seeds[t.name] if isinstance(seeds, Mapping) else seeds) for t in tasks}
    if any(purpose_of(seed) is not Purpose.TRAINING for own in scenes.values() for seed in own):
        raise ValueError("robots record in scenes of the training range only")
    jobs: list[Job] = []
    for i in range(max(map(len, scenes.values()))):
        for task in (t for t in tasks if i < len(scenes[t.name])):
            seed = scenes[task.name][i]
            jobs.append(Job(task, task.say(seed, words), seed, source))
    return jobs


def solves(cell: Workcell, seed: int, limit: int) -> bool:
    """Whether the person of a cell comes to the end of a scene in so many ticks."""
    state, person = cell.scene.reset(seed), cell.person()
    for _ in range(limit):
        state, done = cell.robot.step(person.drive(state))
        if done:
            return True
    return False
