"""A robot at work: task after task, the policy of its channel, its scene set up, its logs uploaded.

A policy is changed between episodes only. After a safe stop nothing moves until a person says that it may;
where nobody can, the work ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from lwd_core.errors import UserError
from lwd_core.fleet.actor import Delivered
from lwd_core.fleet.channel import Loaded, PolicySource
from lwd_core.fleet.checkin import CheckIn
from lwd_core.fleet.control import Control
from lwd_core.fleet.live import Told
from lwd_core.fleet.outbox import Outbox
from lwd_core.fleet.pace import Timekeeper, WallTime
from lwd_core.fleet.planner import Planner
from lwd_core.fleet.rig import ControlRules, Rig, SafeStop
from lwd_core.fleet.robot import Button, RobotPolicy, RobotSpec, TaskQueue
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.stand import Stand
from lwd_core.fleet.task import Job, Task, find_tasks, kept
from lwd_core.fleet.upload import Backoff
from lwd_core.policies.scenes import training_seeds
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel, Source, Words

_NS = 1_000_000_000
_POLL_NS = 2 * _NS
_ASK_NS = 50_000_000
_SENDS_S = 10.0  # before it looks at its episode, the platform and the person again


class Rounds:
    """Task after task in turn, ``episodes`` in all (None: without end); implements ``TaskQueue``."""

    def __init__(
        self,
        tasks: Sequence[Task],
        run: str,
        source: Source,
        *,
        episodes: int | None = None,
        words: Words = Words.USUAL,
    ) -> None:
        if not tasks:
            raise UserError("robot: no task; name one (`--task`, and `--instruction` where it brings none)")
        kept(words)
        self._tasks, self._run, self._source, self._words = tasks, run, source, words
        self._numbers = iter(count() if episodes is None else range(episodes))

    def take(self) -> Job | None:
        """The next task, in a scene of its own."""
        number = next(self._numbers, None)
        if number is None:
            return None
        task = self._tasks[number % len(self._tasks)]
        (seed,) = training_seeds(f"{self._run}/{number}", 1)
        return Job(task, task.say(seed, self._words), seed, self._source)


@dataclass(frozen=True)
class GivenPolicy:
    """One policy, whatever the channels hold; implements ``PolicySource``."""

    policy: RobotPolicy

    def newest(self, channel: Channel, now_ns: int) -> Loaded:
        """Always this one."""
        return Loaded(self.policy, "", 0, 0)


@dataclass(frozen=True)
class Work:
    """How a robot works: its rules, its upload, who is told, and what stands in for clock and thread in
    tests. ``idle``: how it waits (ns) for the platform or a person, where that is not by ``keeper``."""

    rules: ControlRules = field(default_factory=ControlRules)
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=2))
    told: Told = field(default_factory=Told)
    say: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False
    keeper: Timekeeper = field(default_factory=WallTime)
    planner: Callable[[int], Planner] | None = None
    idle: Callable[[int], None] | None = None

    def rest(self, duration: int) -> None:
        """Wait while nothing moves."""
        (self.idle or self.keeper.sleep_ns)(duration)


def run_robot(
    settings: Settings,
    stand: Stand,
    spec: RobotSpec,
    queue: TaskQueue,
    policies: PolicySource | None,
    work: Work | None = None,
) -> tuple[Delivered, ...]:
    """Work through the queue until it is empty, or a person or ``work.stop`` ends it; return what landed.

    Without ``policies`` a person drives throughout. A take that is discarded is taken again. Raises
    `SafeStop` after one where nobody could say that the robot may go on; its log is uploaded before.
    """
    work = work or Work()
    spec = stand.of_type(spec)
    stand.install(settings.embodiments)

    def complain(why: str) -> None:
        work.told.waiting(spec, why)

    with claimed(settings, [spec]) as spool:
        folder = spool / spec.robot_id
        outbox = Outbox(settings, spec, folder, work.backoff, lambda: True, work.told.landed, complain)
        check_in = CheckIn(settings, spec, complain)
        outbox.send(_SENDS_S)
        try:
            stand.connect()
            job, asks = queue.take(), False
            while job is not None and not work.stop():
                rig = stand.at(job.task)
                ready, held = _policy(policies, job, rig, work, complain, check_in, outbox)
                if not ready or not _set_up(rig, job, asks, work):
                    break
                told = replace(job, notes={**job.notes, **_notes(held)})
                control = Control(
                    rig,
                    spec,
                    work.rules,
                    stop=work.stop,
                    say=work.say,
                    keeper=work.keeper,
                    planner=work.planner,
                )
                try:
                    take = control.run(told, held.policy if held else None, folder)
                except SafeStop as stopped:
                    complain(str(stopped))
                    outbox.recover("when its log could not be written")
                    outbox.send(_SENDS_S)
                    if work.stop():
                        break
                    if not rig.buttons:
                        raise
                    asks = True
                    continue
                asks = False
                if take.ran:
                    outbox.put(take.ran)
                    outbox.send(_SENDS_S)
                if take.last:
                    break
                if take.ran:
                    job = queue.take()
        finally:
            try:
                stand.close()
            except Exception as problem:  # said, and in nobody's way
                complain(f"robot {spec.robot_id}: it can't be closed ({type(problem).__name__}: {problem})")
        outbox.send()
        if waiting := outbox.waiting():
            complain(
                f"{len(waiting)} logs wait in {folder}; mend the way to {settings.landing}: whoever drives "
                f"robot {spec.robot_id} next uploads them"
            )
        return tuple(outbox.delivered)


def chosen_tasks(stand: Stand, names: Sequence[str]) -> tuple[Task, ...]:
    """The stand's tasks of these names, all where none is named."""
    return find_tasks(stand.tasks, names or stand.tasks)


def _policy(
    policies: PolicySource | None,
    job: Job,
    rig: Rig,
    work: Work,
    complain: Callable[[str], None],
    check_in: CheckIn,
    outbox: Outbox,
) -> tuple[bool, Loaded | None]:
    """Whether to run an episode now, and the policy for it (None: a person drives). Waits while the platform
    wants a pause, the disk is full of what must not go, or there is no policy, until somebody has enough."""
    held = None
    while not work.stop():
        now = work.keeper.now_ns()
        wanted = check_in(now, held, outbox, job.task.name)
        held = policies.newest(check_in.channel, now) if policies is not None else None
        if wanted.paused:
            complain(f"paused: {wanted.why}")
        elif not outbox.make_room():
            outbox.send(_SENDS_S)
        elif policies is None or held is not None:
            return True, held
        else:
            complain("no policy to run yet")
        if any(press.button in (Button.QUIT, Button.STOP) for press in rig.pressed()):
            break
        work.rest(_POLL_NS)
    return False, None


def _set_up(rig: Rig, job: Job, asks: bool, work: Work) -> bool:
    """Have the scene set up: by itself, or by a person, who says when; False where they want no more.

    ``asks``: a person must say so in any case. Where nobody can, it counts as set up.
    """
    if rig.buttons and (asks or rig.scene is None):
        work.say(f"{job.task.name}: {job.instruction}. Set the scene up, then say ready")
        for _ in rig.pressed():  # what was pressed before the question is no answer
            pass
        while True:
            if work.stop():
                return False
            buttons = [press.button for press in rig.pressed()]
            if Button.QUIT in buttons or Button.STOP in buttons:
                return False
            if Button.READY in buttons:
                break
            work.rest(_ASK_NS)
    if rig.scene is not None:
        try:
            rig.scene.reset(job.seed)
        except UserError:
            raise
        except Exception as error:  # whatever a stranger's robot raises
            raise UserError(
                f"{job.task.name}: the scene can't be set up ({type(error).__name__}: "
                f"{' '.join(str(error).split())}); look after the robot's `reset`"
            ) from error
    return True


def _notes(held: Loaded | None) -> dict[str, str]:
    return dict(held.notes()) if held and held.release_id else {}
