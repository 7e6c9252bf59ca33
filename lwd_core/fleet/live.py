"""A deployed fleet: robots that poll, run, record and upload until they are told to stop.

One process steps all its robots with batched inference. Robots share nothing but the policy: each
has its own line, its own disk, its own clock, and takes a new release between its own episodes.
A process that is killed leaves truncated logs; the next one on the same disk uploads them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from lwd_core.fleet.actor import Delivered, landing_folder, spool_folder
from lwd_core.fleet.arms import Arms
from lwd_core.fleet.batching import Attempt, Pause, run_together
from lwd_core.fleet.channel import PolicySource
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.episode import Job, Ran, episode
from lwd_core.fleet.link import Outages
from lwd_core.fleet.recorder import rescue
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.seeds import training_seeds
from lwd_core.fleet.supervisor import Supervisor, Watcher
from lwd_core.fleet.tasks import find_tasks
from lwd_core.fleet.upload import Backoff, Landed, land
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source

_NS = 1_000_000_000
_POLL_NS = 2 * _NS  # while there is no policy to run, or to reach the platform after the last episode


@dataclass(frozen=True)
class Deployment:
    """How a live fleet works.

    ``run`` names it: another name, other scenes. ``speed`` is how much faster than life robots move;
    0 is as fast as the machine can. ``between_s`` is the time to set a scene up again. A robot stops
    after ``episodes`` (None: goes on until stopped).
    """

    run: str
    source: Source = Source.ONLINE
    episodes: int | None = None
    speed: float = 1.0
    between_s: float = 2.0
    outages: Outages = field(default_factory=Outages)
    supervisor: Watcher = field(default_factory=Supervisor)
    vary_instructions: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=2))


@dataclass(frozen=True)
class Told:
    """Whom to tell what: ``landed`` every log that arrived, with its episode unless it is an older
    one's; ``waiting`` a robot that has nothing to run or no line, and why."""

    landed: Callable[[RobotSpec, Landed, Ran | None], None] = lambda *_: None
    waiting: Callable[[RobotSpec, str], None] = lambda *_: None


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
    arms: Arms | None = None,
) -> tuple[Delivered, ...]:
    """Run the fleet until every robot has done its episodes or ``stop`` says so; return what landed.

    Robots end the episode they are in and upload before they stop. ``now`` is true time, int64 ns.
    """
    pool = arms or Arms()
    generator = np.random.default_rng()
    robots = (
        _Deployed(robot, settings, fleet, deployment, policies, pool, stop, told, now).work()
        for robot in fleet.robots
    )
    lanes = len(fleet.robots)
    days = list(run_together(robots, lanes=lanes, generator=generator, now=now, sleep=sleep))
    if arms is None:
        pool.close()
    return tuple(delivered for day in days for delivered in day)


class _Deployed:
    """One robot at work."""

    def __init__(
        self,
        robot: RobotSpec,
        settings: Settings,
        fleet: FleetConfig,
        deployment: Deployment,
        policies: PolicySource,
        arms: Arms,
        stop: Callable[[], bool],
        told: Told,
        now: Callable[[], int],
    ) -> None:
        self._robot, self._arms, self._policies = robot, arms, policies
        self._deployment, self._stop, self._told, self._now = deployment, stop, told, now
        self._landing = settings.landing
        self._spool = spool_folder(settings) / robot.robot_id
        self._ran: dict[Path, Ran] = {}
        self._delivered: list[Delivered] = []
        self._jobs = _jobs(fleet, robot, deployment)

    def work(self) -> Attempt[list[Delivered]]:
        """Episode after episode; what could not be uploaded waits for the line to come back."""
        for left in rescue(self._spool) if self._spool.exists() else ():
            self._told.waiting(self._robot, f"found {left.name}, cut off when the robot went down")
        held = None
        for job in self._jobs:
            while not self._stop():
                self._upload()
                if self._online():
                    held = self._policies.newest(self._robot.channel, self._now()) or held
                if held:
                    break
                self._told.waiting(self._robot, "no policy to run yet")
                yield Pause(self._now() + _POLL_NS)
            if self._stop() or held is None:
                break
            noted = Job(job.task, job.instruction, job.seed, job.source, held.notes())
            start = self._now()
            with self._arms.borrow(job.task) as arm:
                ran = yield from episode(
                    arm,
                    self._robot,
                    noted,
                    policy=held.policy,
                    watcher=self._deployment.supervisor,
                    start_ns=start,
                    spool=self._spool,
                )
                lasted = ran.steps * _NS / arm.control_hz
            self._ran[ran.log] = ran
            yield from self._wait_until(start, lasted)
            self._upload()
            yield from self._wait_until(start, lasted + self._deployment.between_s * _NS)
        while self._waiting_logs():
            self._upload()
            if self._waiting_logs():
                self._told.waiting(self._robot, "no line; logs still to be uploaded")
                yield Pause(self._now() + _POLL_NS)
        return self._delivered

    def _wait_until(self, start_ns: int, after: float) -> Iterator[Pause]:
        """Time that passes for the robot, at the fleet's speed; none when it runs flat out."""
        if self._deployment.speed > 0:
            yield Pause(start_ns + round(after / self._deployment.speed))

    def _online(self) -> bool:
        return self._deployment.outages.online(self._robot.robot_id, self._now())

    def _waiting_logs(self) -> list[Path]:
        return sorted(self._spool.glob("*.mcap"))

    def _upload(self) -> None:
        """Everything that waits, oldest first, as far as the line holds."""
        if not self._online():
            return
        for log in self._waiting_logs():
            ran = self._ran.get(log)
            folder = landing_folder(self._robot, log)
            try:
                landed = land(log, self._landing, folder, backoff=self._deployment.backoff)
            except OSError as problem:
                self._told.waiting(self._robot, f"upload failed: {problem}")
                return
            self._told.landed(self._robot, landed, ran)
            if ran:
                self._delivered.append(Delivered(ran, landed))
                del self._ran[log]


def _jobs(fleet: FleetConfig, robot: RobotSpec, deployment: Deployment) -> Iterator[Job]:
    """Task after task in turn, each robot beginning with another one."""
    tasks = find_tasks(fleet.tasks)
    first = fleet.robots.index(robot)
    for i in count() if deployment.episodes is None else range(deployment.episodes):
        task = tasks[(first + i) % len(tasks)]
        (seed,) = training_seeds(f"{deployment.run}/{robot.robot_id}/{i}", 1)
        wording = task.instructions[seed % len(task.instructions)] if deployment.vary_instructions else ""
        yield Job(task, wording or task.instruction, seed, deployment.source)
