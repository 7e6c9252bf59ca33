"""A deployed fleet: robots that poll, run, record and upload until they are told to stop.

One process steps all its robots with batched inference. Robots share nothing but the policy: each
has its own line, its own disk, its own clock, and takes a new release between its own episodes.
A process that is killed leaves truncated logs; the next one on the same disk uploads them.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.actor import Delivered, at_controls
from lwd_core.fleet.batching import Attempt, Pause, run_together
from lwd_core.fleet.channel import PolicySource
from lwd_core.fleet.checkin import CheckIn
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.episode import episode
from lwd_core.fleet.eyes import CameraFault
from lwd_core.fleet.link import Outages
from lwd_core.fleet.outbox import Landing, Outbox
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.supervisor import Demonstrator, Supervisor, Watcher
from lwd_core.fleet.task import Job, Task, find_tasks, kept
from lwd_core.fleet.upload import Backoff
from lwd_core.fleet.workcells import Workcells, of_robot
from lwd_core.policies.scenes import training_seeds
from lwd_core.settings import Settings
from storage_schemas.canonical import digest
from storage_schemas.vocabulary import Source, Words

_NS = 1_000_000_000
_SENDS_S = 10.0  # a backlog keeps nobody from the next episode
_POLL_NS = 2 * _NS  # while there is no policy to run, or to reach the platform after the last episode


@dataclass(frozen=True)
class Deployment:
    """How a live fleet works.

    ``run`` names it: another name, other scenes. ``speed`` is how much faster than life robots move;
    0 is as fast as the machine can. ``between_s`` is the time to set a scene up again. A robot stops
    after ``episodes`` (None: goes on until stopped). ``play`` is the share of episodes in which a person
    explores what goes wrong instead of the policy; which ones, follows from their scenes.
    """

    run: str
    source: Source = Source.ONLINE
    episodes: int | None = None
    speed: float = 1.0
    between_s: float = 2.0
    outages: Outages = field(default_factory=Outages)
    supervisor: Watcher = field(default_factory=Supervisor)
    words: Words = Words.USUAL
    play: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=2))

    def __post_init__(self) -> None:
        kept(self.words)
        if not 0 <= self.play <= 1:
            raise UserError("play: a share of the episodes, between 0 and 1")


def _nothing(*_: object) -> None:
    """Nobody to tell."""


@dataclass(frozen=True)
class Told:
    """Whom to tell what: ``landed`` every log that arrived, with its episode unless it is an older
    one's; ``waiting`` a robot that has nothing to run or no line, and why."""

    landed: Landing = _nothing
    waiting: Callable[[RobotSpec, str], None] = _nothing


def run_live(
    settings: Settings,
    fleet: FleetConfig,
    deployment: Deployment,
    policies: PolicySource,
    *,
    stop: Callable[[], bool] = lambda: False,
    told: Told = Told(),
    now: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
    cells: Workcells | None = None,
) -> tuple[Delivered, ...]:
    """Run the fleet until every robot has done its episodes or ``stop`` says so; return what landed.

    Robots end the episode they are in and upload before they stop. One whose camera fails says so, uploads
    what there is of the episode and goes on to the next. ``now`` is true time, int64 ns. ``cells`` are
    workcells to reuse between calls. The robots' embodiment file is installed where there is none.
    """
    with of_robot(fleet.robot, cells) as pool:
        pool.install(settings.embodiments)
        (task, *_) = find_tasks(pool.tasks, fleet.tasks)
        with pool.borrow(task):  # a robot that can't be built is told of now, not when there is a policy
            pass
        return _run(settings, fleet, pool, deployment, policies, stop, told, now, sleep)


def _run(
    settings: Settings,
    fleet: FleetConfig,
    pool: Workcells,
    work: Deployment,
    policies: PolicySource,
    stop: Callable[[], bool],
    told: Told,
    now: Callable[[], int],
    sleep: Callable[[float], None],
) -> tuple[Delivered, ...]:

    def at_work(robot: RobotSpec, spool: Path) -> Attempt[list[Delivered]]:
        """Episode after episode; what could not be uploaded waits for the line to come back."""

        def online() -> bool:
            return work.outages.online(robot.robot_id, now())

        def complain(why: str) -> None:
            told.waiting(robot, why)

        outbox = Outbox(settings, robot, spool, work.backoff, online, told.landed, complain)
        check_in = CheckIn(settings, robot, complain)
        held = None
        for job in _jobs(fleet, pool.tasks, robot, work):
            playing = job.source is Source.PLAY
            while not stop():
                outbox.send(_SENDS_S)
                if online():
                    check_in(now(), held, outbox, job.task.name)
                    held = policies.newest(check_in.channel, now())
                elif held and held.expired(now()):
                    held = None
                if check_in.wanted.paused:
                    complain(f"paused: {check_in.wanted.why}")
                elif not outbox.make_room():
                    pass  # it said so
                elif held or playing:
                    break
                else:
                    complain("no policy to run yet")
                yield Pause(now() + _POLL_NS)
            if stop():
                break
            start = now()
            policy = None if held is None or playing else held
            try:
                with pool.borrow(job.task) as cell:
                    ran = yield from episode(
                        cell,
                        robot,
                        replace(job, notes=policy.notes()) if policy else job,
                        person=at_controls(cell, job, pool),
                        policy=policy.policy if policy else None,
                        watcher=work.supervisor if policy else Demonstrator(),
                        start_ns=start,
                        spool=spool,
                    )
                    lasted_ns = ran.steps * _NS / cell.robot.control_hz
            except CameraFault as fault:  # the others work on
                complain(str(fault))
                outbox.recover("when a camera failed")
                yield Pause(now() + _POLL_NS)
                continue
            outbox.put(ran)
            yield from _until(start, lasted_ns, work.speed)
            outbox.send(_SENDS_S)
            yield from _until(start, lasted_ns + work.between_s * _NS, work.speed)
        while outbox.waiting():
            outbox.send()
            if outbox.waiting():
                complain("no line; logs still to be uploaded")
                yield Pause(now() + _POLL_NS)
        return outbox.delivered

    with claimed(settings, fleet.robots) as spool:
        days = run_together(
            (at_work(robot, spool / robot.robot_id) for robot in fleet.robots),
            lanes=len(fleet.robots),
            generator=np.random.default_rng(int(digest([work.run])[:16], 16)),
            now=now,
            sleep=sleep,
        )
        return tuple(delivered for day in days for delivered in day)


def _until(start_ns: int, after_ns: float, speed: float) -> Iterator[Pause]:
    """Time that passes for a robot, at the fleet's speed; none when it runs flat out."""
    if speed > 0:
        yield Pause(start_ns + round(after_ns / speed))


def _jobs(
    fleet: FleetConfig, known: Mapping[str, Task], robot: RobotSpec, deployment: Deployment
) -> Iterator[Job]:
    """Task after task in turn, each robot beginning with another one."""
    tasks = find_tasks(known, fleet.tasks)
    first = fleet.robots.index(robot)
    for i in count() if deployment.episodes is None else range(deployment.episodes):
        task = tasks[(first + i) % len(tasks)]
        (seed,) = training_seeds(f"{deployment.run}/{robot.robot_id}/{i}", 1)
        plays = _luck(seed) < deployment.play
        told = task.say(seed, deployment.words)
        yield Job(task, told, seed, Source.PLAY if plays else deployment.source)


def _luck(seed: int) -> float:
    """A number in [0, 1) that a scene's seed decides."""
    return int(digest(["play", seed])[:8], 16) / 2**32
