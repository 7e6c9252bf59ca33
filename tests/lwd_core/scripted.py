"""Episodes by script: logs as the simulated robots write them, with an outcome that is stated beforehand."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lwd_core.fleet.episode import log_name
from lwd_core.fleet.recorder import Recorder
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.upload import Landed, land
from lwd_core.fleet.workcells import Workcells
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome, Source

_NS = 1_000_000_000
_HZ = 80
_STATE, _ACTION = 39, 4
OPERATOR = "script"


@dataclass(frozen=True)
class Scripted:
    """What is to happen. A policy drives to the end, unless a person takes over for the second half."""

    task: str
    source: Source
    seed: int
    success: bool = True
    taken_over: bool = False
    steps: int = 60
    policy_id: str | None = None


def land_scripted(landing: str, robot: RobotSpec, day: str, start_ns: int, script: Scripted) -> Landed:
    """Record one episode and upload its log below ``landing`` (folder or URL), as the robot would."""
    with TemporaryDirectory() as spool:
        return land(
            record(Path(spool), robot, start_ns, script), landing, f"{robot.site}/{day}/{robot.robot_id}"
        )


def record(spool: Path, robot: RobotSpec, start_ns: int, script: Scripted) -> Path:
    """Write one log into the folder ``spool``; return its path.

    States wander near the task's start and actions stay within their limits; the seed decides both.
    """
    random = np.random.default_rng(script.seed)
    walk = 0.5 + np.cumsum(random.normal(0, 0.004, (script.steps + 1, _STATE)), axis=0)
    state = np.clip(walk, 0.01, 0.99)
    action = np.clip(random.normal(0, 0.4, (script.steps, _ACTION)), -0.95, 0.95)
    task = all_tasks()[script.task]
    path = spool / log_name(start_ns, task)
    robot = Workcells().of_type(robot)
    half = script.steps // 2 if script.taken_over else script.steps
    with Recorder(path, robot, script.policy_id) as log:
        start = {"task": task.name, "instruction": task.instruction, "source": str(script.source)}
        log.event(start_ns, "episode_start", {**start, "seed": str(script.seed), "limit": str(task.limit)})
        for tick in range(script.steps):
            now = start_ns + tick * _NS // _HZ
            if tick == half:
                log.event(now, "intervention_on", {"reason": "operator", "operator": OPERATOR})
            log.state(now, state[tick])
            if script.policy_id is None or tick >= half:
                log.control(now, Actor.HUMAN, "", OPERATOR)
            else:
                log.proposed(now, action[tick])
                log.control(now, Actor.POLICY, script.policy_id, "")
            log.executed(now, action[tick])
        end = start_ns + script.steps * _NS // _HZ
        if half < script.steps:
            log.event(end, "intervention_off", {"operator": OPERATOR})
        log.state(end, state[-1])
        log.event(end, str(Outcome.SUCCESS if script.success else Outcome.FAILURE), {})
        log.event(end, "episode_end", {"end": str(EpisodeEnd.TERMINATED)})
    return path
