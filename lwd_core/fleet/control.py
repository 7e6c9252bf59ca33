"""One episode of a robot in real time: fixed rate, limits, a watch, a person who may take over.

Whatever goes wrong (an exception, a state that is old, a camera that is lost, a loop that hangs, Ctrl-C) the
robot is told to stand still before anything else, and the log says why and ends there, whole and
``truncated``.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.batching import Request
from lwd_core.fleet.episode import Ran, log_name
from lwd_core.fleet.eyes import sound_frames
from lwd_core.fleet.limits import RULES, Limiter
from lwd_core.fleet.pace import Pace, Timekeeper, WallTime, Watchdog
from lwd_core.fleet.planner import Planner, Plans, ThreadPlanner, WhenLate
from lwd_core.fleet.recorder import Recorder
from lwd_core.fleet.rig import ControlRules, Rig, SafeStop
from lwd_core.fleet.robot import (
    Action,
    Button,
    Observed,
    Person,
    RobotPolicy,
    RobotSpec,
)
from lwd_core.fleet.senses import Senses
from lwd_core.fleet.task import Job
from storage_schemas.canonical import digest
from storage_schemas.vocabulary import Actor, EpisodeEnd, InterventionReason, Outcome

_ASKS_NS = 20_000_000  # how often it is looked for what a person presses while nothing moves
_VERDICTS = {Button.SUCCESS: Outcome.SUCCESS, Button.FAILURE: Outcome.FAILURE, Button.DISCARD: None}


@dataclass(frozen=True)
class Driven:
    """What came of an episode: None where it was discarded. ``last``: a person wants no other."""

    ran: Ran | None
    last: bool = False


@dataclass
class _Course:
    """What is known of an episode while it goes on."""

    tick: int = 0
    human: int = 0
    now: int = 0
    observed: Observed | None = None
    command: Action | None = None
    reason: InterventionReason | None = None
    driving: InterventionReason | None = None  # as far as the log says
    reasons: list[InterventionReason] = field(default_factory=list[InterventionReason])
    outcome: Outcome | None = None
    by: str = ""
    over: bool = False
    discarded: bool = False
    last: bool = False
    counts: Counter[str] = field(default_factory=Counter[str])


class Control:
    """Drives one rig, episode after episode.

    ``stop()``: whether the process was asked to end. ``say`` tells a person. ``keeper`` and ``planner`` (made
    for an episode, with its seed) stand in for the machine's clock and thread in tests.
    """

    def __init__(
        self,
        rig: Rig,
        spec: RobotSpec,
        rules: ControlRules | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
        keeper: Timekeeper | None = None,
        planner: Callable[[int], Planner] | None = None,
    ) -> None:
        self._rig, self._spec, self._rules = rig, spec, rules or ControlRules()
        self._stop, self._say = stop, say
        self._keeper = keeper or WallTime()
        self._planner = planner or self._thread
        self._limiter = Limiter(rig.embodiment)
        self._moves = ""  # why it may not stand still
        self._cameras = tuple(camera.name for camera in rig.embodiment.cameras)
        self._senses = Senses(rig, f"robot {spec.robot_id}", self._rules)
        if rig.robot.control_hz != rig.embodiment.control_hz:
            raise UserError(
                f"robot {spec.robot_id}: it runs at {rig.robot.control_hz:g} Hz, its embodiment file says "
                f"control_hz: {rig.embodiment.control_hz:g}; make them one"
            )

    def _thread(self, seed: int) -> Planner:
        return ThreadPlanner(seed)

    def run(self, job: Job, policy: RobotPolicy | None, spool: Path) -> Driven:
        """Run one episode and leave its log in ``spool``; without a policy a person drives throughout.

        Raises `SafeStop` where the robot was made to stand still: its log, truncated, is in ``spool`` then
        too.
        """
        try:
            return self._run(job, policy, spool)
        except OSError as problem:  # the robot stands still by now, if it ever moved
            raise SafeStop(
                f"{spool}: the log can't be written there ({problem}); free the disk, or give it another "
                "LWD_HOME"
            ) from problem

    def _run(self, job: Job, policy: RobotPolicy | None, spool: Path) -> Driven:
        rig = self._rig
        person = rig.person() if rig.person else None
        if policy is None and person is None:
            raise UserError(
                f"robot {self._spec.robot_id}: no policy, and nobody can drive; name controls (`--controls`)"
            )
        start = self._keeper.now_ns()
        course, pace = _Course(), Pace(rig.embodiment.control_hz, self._keeper)
        planner = self._planner(int(digest([self._spec.robot_id, job.task.name, job.seed, start])[:16], 16))
        plans = Plans(
            planner,
            self._keeper,
            pace.period_ns,
            WhenLate(self._rules.late),
            ahead=self._rules.ahead,
            most_s=self._rules.plan_s,
        )
        policy_id = policy.policy_id if policy else ""
        fault: BaseException | None = None
        with Recorder(spool / log_name(start, job.task), self._spec, policy_id or None) as log:
            log.begin(
                start,
                job.task.name,
                instruction=job.instruction,
                source=job.source,
                **{"seed": str(job.seed), "limit": str(job.task.limit), **job.notes},
            )
            try:
                with Watchdog(self._still, self._rules.watchdog_ms / 1e3) as dog:
                    try:
                        self._drive(course, job, policy, person, plans, pace, dog, log)
                    finally:
                        self._still()
                if self._moves:
                    raise SafeStop(self._moves)
                self._hear_out(course)
            except BaseException as problem:
                fault = problem
            finally:
                planner.close()
            self._finish(course, fault, pace, log)
        if course.discarded or not course.tick:  # a log without an action is nothing to learn from
            log.path.unlink()
            self._say("discarded" if course.tick else "over before anything moved: nothing is kept")
        if fault is not None:
            if isinstance(fault, SafeStop) or not isinstance(fault, Exception):
                raise fault
            who = f"robot {self._spec.robot_id}: "
            raise SafeStop(f"{who}{_why(fault).removeprefix(who)}; stopped") from fault
        if course.discarded or not course.tick:
            return Driven(None, course.last)
        known = course.outcome in (Outcome.SUCCESS, Outcome.FAILURE)
        ran = Ran(
            self._spec.robot_id,
            job.task.name,
            job.seed,
            job.source,
            policy_id or None,
            course.outcome is Outcome.SUCCESS if known else None,
            course.tick,
            course.human,
            start,
            log.path,
            tuple(course.reasons),
        )
        return Driven(ran, course.last)

    def _drive(
        self,
        course: _Course,
        job: Job,
        policy: RobotPolicy | None,
        person: Person | None,
        plans: Plans,
        pace: Pace,
        dog: Watchdog,
        log: Recorder,
    ) -> None:
        """Tick after tick until the episode is over."""
        rig = self._rig
        if policy is None:
            course.reason = InterventionReason.DEMONSTRATION
        bitten = np.zeros((len(RULES), len(self._limiter.names)), dtype=bool)
        taken: dict[str, int] = {}
        late = False
        pace.start()
        while True:
            pace.wait()
            dog.feed()
            course.now, course.observed = (now := self._keeper.now_ns()), None
            observed = course.observed = self._sound(rig.robot.observe(), now, dog)
            self._listen(course, policy is not None)
            self._judge(course, observed, job)
            self._record_pictures(observed, taken, now, course.counts, log)
            if course.over:
                return
            self._senses.cameras(observed, policy, now, course.counts)
            if course.driving is not course.reason:
                self._hand_over(course, policy, person, plans, log)
            proposed: Action | None = None
            by_person = course.reason is not None or policy is None
            if by_person:
                action = person.drive(observed.state) if person else course.command
            elif policy is not None:
                request = self._request(job, policy, observed) if plans.wants else None
                proposed = plans.next(request)
                action = course.command if proposed is None else proposed
                waits = course.command is not None and (proposed is None or plans.repeats)
                course.counts["held_ticks"] += waits and proposed is None
                course.counts["slowed_ticks"] += plans.repeats
                if waits and not late:
                    log.event(now, "late", {"rule": str(self._rules.late)})
                late = waits
            else:
                action = None
            if action is None:  # nothing has moved yet, and the first plan is still to come
                continue
            given = self._limiter(action, course.command, observed.state)
            if (given.bitten & ~bitten).any():
                log.event(now, "limited", given.said(self._limiter.names))
            bitten = given.bitten
            for rule, row in zip(RULES, bitten, strict=True):
                course.counts[f"limited_{rule}_ticks"] += bool(row.any())
            log.state(now, observed.state, observed.t_ns)
            if proposed is not None:
                log.proposed(now, proposed)
            if by_person:
                log.control(now, Actor.HUMAN, "", rig.operator)
                course.human += 1
            else:
                log.control(now, Actor.POLICY, policy.policy_id if policy else "")
            course.command = self._senses.carried_out(rig.robot.act(given.action.copy()), given.action)
            log.executed(now, course.command)
            course.tick += 1

    def _hand_over(
        self, course: _Course, policy: RobotPolicy | None, person: Person | None, plans: Plans, log: Recorder
    ) -> None:
        """Somebody else drives from this tick on."""
        operator, before, course.driving = self._rig.operator, course.driving, course.reason
        if before:
            log.event(course.now, "intervention_off", {"operator": operator})
        if course.reason:
            course.reasons.append(course.reason)
            log.event(course.now, "intervention_on", {"reason": str(course.reason), "operator": operator})
        if course.reason and before is None and policy is not None:
            plans.drop()
            if person and course.observed:
                person.take_over(course.observed.state)

    def _sound(self, observed: Observed, now: int, dog: Watchdog) -> Observed:
        """What the robot says, if it can be driven by and nobody asks it to stop."""
        who = f"robot {self._spec.robot_id}"
        if dog.tripped:
            raise SafeStop(
                f"{who}: a tick took more than {self._rules.watchdog_ms:g} ms, and the watchdog stopped it; "
                "look after what hangs, or raise `--watchdog-ms`"
            )
        if self._stop():
            raise SafeStop(f"{who}: asked to stop")
        return self._senses.state(observed, now)

    def _record_pictures(
        self, observed: Observed, taken: dict[str, int], now: int, counts: Counter[str], log: Recorder
    ) -> None:
        """Each picture once, at the tick that saw it first: later ones knew of it, earlier ones did not."""
        for camera, picture in observed.pictures.items():
            if taken.get(camera) != picture.t_ns:
                taken[camera] = picture.t_ns
                log.image(now, camera, picture.jpeg, picture.t_ns)
                counts[f"camera_{camera}_pictures"] += 1

    def _request(self, job: Job, policy: RobotPolicy, observed: Observed) -> Request:
        frames = None
        if policy.cameras:
            shown = {camera: picture.jpeg for camera, picture in observed.pictures.items()}
            frames = sound_frames(shown, self._cameras, policy, robot=self._spec.robot_id)
        return Request(policy, observed.state, job.instruction, frames, self._rig.embodiment.name)

    def _listen(self, course: _Course, has_policy: bool) -> None:
        """What a person presses while the robot moves."""
        for press in self._rig.pressed():
            match press.button:
                case Button.TAKE_OVER if has_policy:
                    course.reason = InterventionReason(press.reason)
                case Button.GIVE_BACK if has_policy:
                    course.reason = None
                case Button.SUCCESS | Button.FAILURE | Button.DISCARD:
                    self._decide(course, Button(press.button))
                case Button.QUIT:
                    course.last = True
                    self._say("no episode after this one")
                case Button.STOP:
                    raise SafeStop(f"robot {self._spec.robot_id}: stopped by a person")
                case _:
                    pass

    def _decide(self, course: _Course, button: Button) -> None:
        course.over, course.by = True, "person"
        course.outcome, course.discarded = _VERDICTS[button], button is Button.DISCARD

    def _judge(self, course: _Course, observed: Observed, job: Job) -> None:
        """The referee's word, unless a person has said theirs; a task not done at its limit has failed, if
        there is somebody to tell."""
        if course.over or not course.tick:  # an attempt is of one tick at least
            return
        found = self._rig.referee.judge(observed) if self._rig.referee else None
        if found is None and course.tick >= job.task.limit:
            found = Outcome.FAILURE if self._rig.referee else Outcome.UNKNOWN
        if found is not None:
            course.over, course.outcome = True, Outcome(found)

    def _hear_out(self, course: _Course) -> None:
        """Ask a person how it went, where nobody knows."""
        if course.outcome is not Outcome.UNKNOWN or not self._rig.buttons:
            return
        self._say("how did it go? success, failure, discard, or ready to leave it open")
        end = self._keeper.monotonic_ns() + round(self._rules.verdict_s * 1e9)
        while self._keeper.monotonic_ns() < end and not self._stop():
            for press in self._rig.pressed():
                course.last |= press.button in (Button.QUIT, Button.STOP)
                if press.button in _VERDICTS:
                    self._decide(course, Button(press.button))
                if press.button in (*_VERDICTS, Button.READY):
                    return
            self._keeper.sleep_ns(_ASKS_NS)

    def _still(self) -> None:
        """Tell the robot to stand still, whatever it says to that."""
        try:
            self._rig.robot.stop()
            self._moves = ""
        except Exception as problem:
            self._moves = f"robot {self._spec.robot_id}: its stop failed ({_why(problem)}); cut its power"
            self._say(self._moves)

    def _finish(self, course: _Course, fault: BaseException | None, pace: Pace, log: Recorder) -> None:
        """The log's end: its last state, verdict, and what was measured of the loop."""
        now = course.now or self._keeper.now_ns()
        if course.driving:
            log.event(now, "intervention_off", {"operator": self._rig.operator})
        if course.observed is not None and course.observed.state.shape == (
            len(self._rig.embodiment.state_dims),
        ):
            log.state(now, course.observed.state, course.observed.t_ns)
        if fault is not None:
            log.event(now, "safe_stop", {"why": _why(fault)})
        known = fault is None and course.outcome in (Outcome.SUCCESS, Outcome.FAILURE)
        log.end(
            now,
            course.outcome is Outcome.SUCCESS if known else None,
            end=EpisodeEnd.TERMINATED if known else EpisodeEnd.TRUNCATED,
            by=course.by,
            **self._measured(course, fault, pace),
        )

    def _measured(self, course: _Course, fault: BaseException | None, pace: Pace) -> Mapping[str, str]:
        counts = {name: str(count) for name, count in sorted(course.counts.items()) if count}
        stopped = {"safe_stop": _why(fault)} if fault is not None else {}
        return {**pace.measured(), **counts, **stopped}


def _why(fault: BaseException) -> str:
    told = " ".join(str(fault).split())
    return told if isinstance(fault, UserError) else f"{type(fault).__name__}: {told}".rstrip(": ")
