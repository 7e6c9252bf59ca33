"""One episode of one robot: run it, with a person's eye on it, and record every tick."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lwd_core.fleet.batching import Attempt, Request
from lwd_core.fleet.eyes import Eyes
from lwd_core.fleet.recorder import Recorder
from lwd_core.fleet.robot import Chunk, Person, RobotPolicy, RobotSpec, Workcell
from lwd_core.fleet.supervisor import Watcher
from lwd_core.fleet.task import Job, Task
from storage_schemas.canonical import digest
from storage_schemas.vocabulary import Actor, EpisodeEnd, InterventionReason, Outcome, Source

_NS = 1_000_000_000
_NO_PLAN: Chunk = np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class Ran:
    """What became of an episode. ``success`` None: nobody knows. ``reasons`` has one entry an
    intervention."""

    robot_id: str
    task: str
    seed: int
    source: Source
    policy_id: str | None
    success: bool | None
    steps: int
    human_steps: int
    start_ns: int
    log: Path
    reasons: tuple[InterventionReason, ...] = field(default=())

    @property
    def outcome(self) -> Outcome:
        """As the robot's event says it."""
        if self.success is None:
            return Outcome.UNKNOWN
        return Outcome.SUCCESS if self.success else Outcome.FAILURE


def episode(
    cell: Workcell,
    spec: RobotSpec,
    job: Job,
    *,
    person: Person,
    policy: RobotPolicy | None,
    watcher: Watcher,
    start_ns: int,
    spool: Path,
) -> Attempt[Ran]:
    """Run one episode from ``start_ns`` (true time) on and leave its log in ``spool``.

    ``person`` drives while ``watcher`` says so, and throughout where there is no policy. The
    policy's chunks are executed whole; after a person has driven, the policy plans anew. What its cameras
    are shown then is what is logged. A task not done at its limit has failed: its last state is terminal.
    """
    robot = cell.robot
    period_ns = round(_NS / robot.control_hz)
    eyes = Eyes(cell, spec, policy)
    clock = start_ns + spec.clock_offset_ns
    policy_id = policy.policy_id if policy else ""
    luck = int(digest([spec.robot_id, job.task.name, job.seed, start_ns])[:16], 16)
    watch = watcher.watch(job.task, np.random.default_rng(luck))
    reasons: list[InterventionReason] = []
    reason: InterventionReason | None = None
    plan, planned = _NO_PLAN, 0
    human_steps = tick = 0
    done = False
    with Recorder(spool / log_name(clock, job.task), spec, policy_id or None) as log:
        state = cell.scene.reset(job.seed)
        log.event(
            clock,
            "episode_start",
            {
                "task": job.task.name,
                "instruction": job.instruction,
                "source": str(job.source),
                "seed": str(job.seed),
                "limit": str(job.task.limit),
                **job.notes,
            },
        )
        while not done and tick < job.task.limit:
            now = clock + tick * period_ns
            before, reason = reason, watch.decide(tick, state)
            if before and before is not reason:
                log.event(now, "intervention_off", {"operator": watcher.operator})
            if reason and before is not reason:
                reasons.append(reason)
                log.event(now, "intervention_on", {"reason": str(reason), "operator": watcher.operator})
                if policy is not None and before is None:
                    person.take_over(state)
            log.state(now, state)
            by_person = reason is not None or policy is None
            if eyes.open(tick, plans=not by_person and planned == len(plan), by_person=by_person):
                for camera, jpeg in eyes.look().items():
                    log.image(now, camera, jpeg)
            if by_person or policy is None:
                action, plan, planned = person.drive(state), _NO_PLAN, 0
                human_steps += 1
                log.control(now, Actor.HUMAN, "", watcher.operator)
            else:
                if planned == len(plan):
                    plan = yield Request(policy, state, job.instruction, eyes.shown, spec.embodiment)
                    planned = 0
                    eyes.chunk = len(plan)
                action = plan[planned].astype(np.float64)
                planned += 1
                log.proposed(now, action)
                log.control(now, Actor.POLICY, policy_id, "")
            log.executed(now, action)
            state, done = robot.step(action)
            tick += 1
        end = clock + tick * period_ns
        if reason:
            log.event(end, "intervention_off", {"operator": watcher.operator})
        log.state(end, state)
        log.event(end, "success" if done else "failure", {})
        log.event(end, "episode_end", {"end": str(EpisodeEnd.TERMINATED)})
    return Ran(
        spec.robot_id,
        job.task.name,
        job.seed,
        job.source,
        policy_id or None,
        done,
        tick,
        human_steps,
        start_ns,
        log.path,
        tuple(reasons),
    )


def log_name(clock_ns: int, task: Task) -> str:
    """File name of a log: the robot's time to the millisecond, UTC, and the task."""
    seconds, rest = divmod(clock_ns, _NS)
    stamp = np.datetime64(seconds, "s").item()
    return f"{stamp:%Y%m%dT%H%M%S}{rest // 1_000_000:03d}-{task.name}.mcap"


def recorded_day(log: Path) -> str:
    """The day (YYYY-MM-DD) a log of this name was begun, by the robot's clock."""
    return f"{log.name[0:4]}-{log.name[4:6]}-{log.name[6:8]}"
