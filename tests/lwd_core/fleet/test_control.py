"""One episode in real time, in a time that leaps: what is recorded, when it stops, who drives."""

import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.batching import Request
from lwd_core.fleet.pace import LeapTime, Pace
from lwd_core.fleet.planner import ThreadPlanner
from lwd_core.fleet.rig import SafeStop
from lwd_core.fleet.robot import Press
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.settings import Settings
from storage_schemas.vocabulary import InterventionReason
from tests.lwd_core.fleet.arms import (
    FILE,
    HZ,
    LIMITS,
    START_NS,
    Counting,
    Pressing,
    Says,
    TwoJoints,
    driven,
)
from tests.lwd_core.fleet.logs import Log


def only(folder: Path) -> Log:
    (path,) = folder.glob("*.mcap")
    return Log(path)


def proposals(log: Log) -> list[tuple[int, int]]:
    """Which plan and which of its actions each tick proposed."""
    return [tuple(round(v * 100) for v in m.values) for m in log.messages["/action/proposed"]]


def test_every_tick_says_what_was_proposed_and_done_by_whom_and_when(tmp_path: Path) -> None:
    arm = TwoJoints()
    ran = driven(tmp_path, arm, policy=Counting(), referee=Says(8), takes=0.25).ran
    log = only(tmp_path)
    assert (ran.steps, ran.success, ran.human_steps, ran.policy_id) == (8, True, 0, "counting")
    assert proposals(log) == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert log.counts["/state"] == 9
    executed = [tuple(m.values) for m in log.messages["/action/executed"]]
    assert executed == [tuple(command) for command in arm.commands]
    assert {m.actor for m in log.messages["/actor"]} == {"policy"}
    assert log.times["/state"][:-1] == log.times["/action/executed"] == log.times["/actor"]
    assert set(np.diff(log.times["/state"])) <= {50_000_000}
    assert log.counts["/camera/top"] == 9
    end = log.attributes("episode_end")
    assert (end["end"], end["overruns"], end["camera_top_pictures"]) == ("terminated", "0", "9")
    assert arm.did == ["stop"]


def test_limits_bite_before_the_robot_and_the_log_says_so(tmp_path: Path) -> None:
    arm, person = TwoJoints(), Pressing(to=(0.9, -0.1))
    driven(tmp_path, arm, person=person, referee=Says(10))
    log, commands = only(tmp_path), np.array(arm.commands)
    assert np.abs(np.diff(commands[:, 0], prepend=0)).max() == pytest.approx(0.1)
    assert commands[:, 0].max() == 0.5
    assert log.attributes("limited") == {"position": "to_a", "velocity": "to_a"}
    assert log.events.count("limited") == 1
    end = log.attributes("episode_end")
    assert (end["limited_position_ticks"], end["limited_velocity_ticks"]) == ("10", "4")


@pytest.mark.parametrize(
    ("rule", "held", "slowed", "begins"),
    [
        # a plan of 6 takes 2 ticks: 0 of the second is where the first ended
        ("hold", True, False, (2, 0)),
        # asked for with 3 left: two ticks of the old plan go by meanwhile
        ("continue", False, False, (2, 2)),
        # the same two ticks carry out one action of it
        ("slow", False, True, (2, 1)),
    ],
)
def test_a_late_plan_is_met_by_the_rule_that_was_stated(
    tmp_path: Path, rule: str, held: bool, slowed: bool, begins: tuple[int, int]
) -> None:
    driven(
        tmp_path, TwoJoints(), policy=Counting(6), referee=Says(16), takes=2.0, late=rule, ahead=3, limits=""
    )
    log = only(tmp_path)
    plans = proposals(log)
    assert next(p for p in plans if p[0] == 2) == begins
    end = log.attributes("episode_end")
    assert ("held_ticks" in end, "slowed_ticks" in end) == (held, slowed)
    assert ("late" in log.events) is (held or slowed)
    executed = [m.values[:] for m in log.messages["/action/executed"]]
    assert len(executed) == 16
    if held:  # what stood while nothing was there is what was told last
        assert len(plans) == 12
        assert max(np.abs(np.diff(executed, axis=0)).max(axis=1) == 0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (OSError("bus"), "OSError: bus"),
        ("stale", "its state is 250 ms old"),
        ("camera", "camera top is lost .its picture is 2000 ms old"),
        ("ahead", "camera top is lost .its picture is 3600000 ms ahead of this clock"),
        ("blind", "camera top is lost .it shows nothing"),
        (KeyboardInterrupt(), "^$"),
    ],
)
def test_whatever_goes_wrong_the_robot_stands_still_and_the_log_is_whole(
    tmp_path: Path, fault: object, says: str
) -> None:
    settings, arm = Settings(home=str(tmp_path)), TwoJoints(faults={6: fault})
    with pytest.raises(KeyboardInterrupt if isinstance(fault, KeyboardInterrupt) else UserError, match=says):
        driven(tmp_path / "spool", arm, policy=Counting(cameras=("top",)))
    assert arm.did == ["stop"]
    log = only(tmp_path / "spool")
    assert log.events[-2:] == ["safe_stop", "episode_end"]
    assert (log.attributes("episode_end")["end"], len(arm.commands) >= 6) == ("truncated", True)
    lake = Lake.open(settings.lake, create=True)
    taken = ingest(
        lake,
        settings,
        [str(tmp_path / "spool")],
        embodiments={"two-joints": parse_embodiment(FILE + LIMITS)},
        now_ns=1,
    )
    (row,) = lake.read("episodes").to_pylist()
    assert (taken.tally("accepted").files, row["end"], row["outcome"]) == (1, "truncated", "unknown")
    assert row["steps"] == len(arm.commands)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (np.full((1, 4, 2), np.nan), "no finite number"),
        (np.zeros((1, 4, 3)), "names 2 dims"),
        (None, "KeyError"),
    ],
)
def test_a_policy_that_makes_no_sense_moves_nothing(tmp_path: Path, plan, says: str) -> None:
    class Senseless(Counting):
        def act(self, *_):
            if plan is None:
                raise KeyError("weights")
            return plan

    arm = TwoJoints()
    with pytest.raises(SafeStop, match=says):
        driven(tmp_path, arm, policy=Senseless())
    assert (arm.commands, arm.did) == ([], ["stop"])


def test_a_policy_that_gives_no_plan_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    arm = TwoJoints()
    with pytest.raises(SafeStop, match="gave no plan in"):
        driven(tmp_path, arm, policy=Counting(), takes=1e6, plan_s=1.0)
    assert (arm.did, arm.commands) == (["stop"], [])


def test_a_driver_that_hangs_is_stopped_by_the_watchdog(tmp_path: Path) -> None:
    freed = threading.Event()
    arm = TwoJoints(faults={3: freed.wait})
    own = arm.stop
    arm.stop = lambda: (own(), freed.set())[0]
    with pytest.raises(SafeStop, match="the watchdog stopped it"):
        driven(tmp_path, arm, person=Pressing(), watchdog_ms=50)
    assert arm.did == ["stop", "stop"]


def test_a_stop_that_fails_is_told_and_hides_nothing(tmp_path: Path) -> None:
    said: deque[str] = deque()
    arm = TwoJoints(faults={2: OSError("bus")})

    def fails():
        raise OSError("no answer")

    arm.stop = fails
    with pytest.raises(SafeStop, match="OSError: bus"):
        driven(tmp_path, arm, policy=Counting(), said=said)
    assert any("its stop failed (OSError: no answer); cut its power" in text for text in said)


def test_a_person_takes_over_and_gives_back(tmp_path: Path) -> None:
    unsafe = Press("take_over", InterventionReason.UNSAFE)
    person = Pressing({3: [unsafe], 7: ["give_back"], 12: ["success"]}, to=(0.3, 0.3))
    policy, arm = Counting(), TwoJoints()
    take = driven(tmp_path, arm, policy=policy, person=person, takes=0.1)
    ran, log = take.ran, only(tmp_path)
    assert (ran.steps, ran.human_steps, ran.success) == (12, 4, True)
    assert ran.reasons == (InterventionReason.UNSAFE,)
    assert log.attributes("intervention_on") == {"reason": "unsafe", "operator": "anna"}
    assert [m.actor for m in log.messages["/actor"]] == ["policy"] * 3 + ["human"] * 4 + ["policy"] * 5
    assert len(person.taken_over) == 1
    # given back, the policy plans anew from where the person left the robot
    assert proposals(log)[:4] == [(1, 0), (1, 1), (1, 2), (2, 0)]
    assert policy.states[1] == pytest.approx(arm.commands[6])
    assert log.attributes("success") == {"by": "person"}


@pytest.mark.parametrize(
    ("presses", "kept", "success", "end"),
    [
        ({5: ["failure"]}, True, False, "terminated"),
        ({5: ["discard"]}, False, None, ""),
        ({33: ["success"]}, True, True, "terminated"),  # asked after the limit of 30
        ({33: ["ready"]}, True, None, "truncated"),
        ({33: ["discard", "quit"]}, False, None, ""),
        ({}, True, None, "truncated"),
    ],
)
def test_a_person_says_how_it_went_or_throws_it_away(tmp_path: Path, presses, kept, success, end) -> None:
    take = driven(tmp_path, TwoJoints(), person=Pressing(presses), verdict_s=5.0)
    assert (take.ran is not None) is kept
    assert list(tmp_path.glob("*.part")) == []
    if take.ran is None:
        assert list(tmp_path.iterdir()) == []
        return
    assert take.ran.success is success
    assert only(tmp_path).attributes("episode_end")["end"] == end


def test_a_persons_halt_is_a_safe_stop(tmp_path: Path) -> None:
    arm = TwoJoints()
    with pytest.raises(SafeStop, match="stopped by a person"):
        driven(tmp_path, arm, person=Pressing({4: ["stop"]}))
    assert (arm.did, len(arm.commands)) == (["stop"], 4)


def test_nobody_drives_without_policy_and_controls(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody can drive; name controls"):
        driven(tmp_path, TwoJoints())


def test_a_rate_is_kept_and_late_ticks_are_not_made_up_for() -> None:
    keeper = LeapTime(START_NS)
    pace = Pace(HZ, keeper)
    pace.start()
    begun = []
    for work_ms in (10, 120, 10, 10):
        pace.wait()
        begun.append(keeper.monotonic_ns() // 1_000_000)
        keeper.sleep_ns(work_ms * 1_000_000)
    # the second tick's work ends at 170: the tick of 100 is left out, that of 150 begins late
    assert begun == [0, 50, 170, 200]
    measured = pace.measured()
    assert (measured["overruns"], measured["skipped_ticks"], measured["jitter_us_most"]) == (
        "1",
        "1",
        "20000",
    )


def test_a_policy_thinks_in_a_thread_of_its_own_and_only_the_last_question_counts() -> None:
    planner, policy = ThreadPlanner(seed=1), Counting()
    for _ in range(2):
        planner.ask(Request(policy, np.zeros(2), "reach out"))
    assert planner.answer(wait_ns=10**10)[0][0] == pytest.approx(len(policy.states) / 100)
    assert planner.answer() is None
    planner.close()
