"""A robot at work: policies between episodes, scenes that a person sets up, what happens after a stop."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded
from lwd_core.fleet.live import Told
from lwd_core.fleet.pace import LeapTime
from lwd_core.fleet.recorder import Recorder
from lwd_core.fleet.rig import ControlRules, Rig, SafeStop
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.stand import RealStand
from lwd_core.fleet.station import Rounds, Work, run_robot
from lwd_core.fleet.upload import Backoff
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source
from tests.lwd_core.fleet.arms import FILE, LIMITS, START_NS, TASK, Counting, Pressing, Says, Slow, TwoJoints
from tests.lwd_core.fleet.logs import Log


class Stood:
    """A stand of one rig."""

    def __init__(self, arm, person=None, referee=None):
        self.embodiment, self.tasks, self.arm = parse_embodiment(FILE + LIMITS), {"reach": TASK}, arm
        buttons = (person,) if person else ()
        self.rig = Rig(arm, self.embodiment, None, referee, (lambda: person) if person else None, buttons)

    def of_type(self, spec):
        return spec

    def install(self, folder):
        """It has its own."""

    def connect(self):
        self.arm.connect()

    def at(self, task):
        return self.rig

    def close(self):
        self.arm.close()


class Channels:
    """A newer policy at every look."""

    def __init__(self):
        self.looks = []

    def newest(self, channel, now_ns):
        self.looks.append(now_ns)
        policy = Counting()
        policy.policy_id = f"p{len(self.looks)}"
        return Loaded(policy, f"r{len(self.looks)}", 1, 2)


def worked(
    tmp_path, arm, *, person=None, referee=None, policies=None, episodes=2, told=None, idle=None, tries=2
):
    settings = Settings(home=str(tmp_path))
    said = told if told is not None else []
    work = Work(
        ControlRules(watchdog_ms=float("inf")),
        keeper=arm.keeper,
        planner=lambda seed: Slow(arm.keeper, 0.1),
        told=Told(waiting=lambda spec, why: said.append(why)),
        idle=idle,
        backoff=Backoff(attempts=tries),
    )
    queue = Rounds([TASK], "run", Source.ONLINE if policies else Source.DEMONSTRATION, episodes=episodes)
    spec = RobotSpec("r1", "lab", "two-joints", "tests")
    return run_robot(settings, Stood(arm, person, referee), spec, queue, policies, work)


def test_a_policy_is_changed_between_episodes_only(tmp_path: Path) -> None:
    channels, arm = Channels(), TwoJoints()

    class Every(Says):
        def judge(self, observed):
            found = super().judge(observed)
            self.asked *= found is None
            return found

    delivered = worked(tmp_path, arm, referee=Every(9), policies=channels, episodes=3)
    logs = [Log(d.log.uri) for d in delivered]
    assert [{m.policy_id for m in log.messages["/actor"]} for log in logs] == [{"p1"}, {"p2"}, {"p3"}]
    assert [log.attributes("episode_start")["release_id"] for log in logs] == ["r1", "r2", "r3"]
    assert len(channels.looks) == 3
    assert arm.did == ["connect", "stop", "stop", "stop", "close"]
    assert [d.log.uri.split("/")[-4] for d in delivered] == ["lab"] * 3 or "landing" in delivered[0].log.uri
    assert list((tmp_path / "spool").rglob("*.mcap*")) == []


def test_a_person_sets_the_scene_up_and_may_take_it_again(tmp_path: Path) -> None:
    presses = {1: ["success"], 3: ["ready"], 8: ["discard"], 10: ["ready"], 15: ["success"], 20: ["quit"]}
    delivered = worked(tmp_path, TwoJoints(), person=Pressing(presses), episodes=5)
    (one,) = delivered
    assert (one.episode.success, one.episode.human_steps) == (True, one.episode.steps)
    assert one.episode.steps > 0
    assert len(list((tmp_path / "landing").rglob("*.mcap"))) == 1


def test_after_a_safe_stop_nothing_moves_until_a_person_says_so(tmp_path: Path) -> None:
    arm, told = TwoJoints(faults={4: OSError("bus")}), []
    person = Pressing({2: ["ready"], 12: ["ready"], 18: ["success"], 22: ["quit"]})
    delivered = worked(tmp_path, arm, person=person, told=told)
    assert len(delivered) == 1
    assert any("OSError: bus" in text for text in told)
    ends = [Log(p).attributes("episode_end") for p in sorted((tmp_path / "landing").rglob("*.mcap"))]
    assert [end["end"] for end in ends] == ["truncated", "terminated"]
    assert ends[0]["safe_stop"] == "OSError: bus"


def test_where_nobody_can_say_so_the_work_ends_and_the_log_is_uploaded(tmp_path: Path) -> None:
    arm = TwoJoints(faults={5: OSError("bus")})
    with pytest.raises(SafeStop, match="OSError: bus"):
        worked(tmp_path, arm, referee=Says(9), policies=Channels())
    assert arm.did == ["connect", "stop", "close"]
    (log,) = (tmp_path / "landing").rglob("*.mcap")
    assert Log(log).events[-2:] == ["safe_stop", "episode_end"]


def test_a_log_that_the_disk_cut_off_is_sent_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, full, left, told = Recorder.end, [OSError(28, "No space left on device")], [], []

    def ends(log, *given, **more):
        left.append(len(list((tmp_path / "spool").rglob("*.part"))))
        if full:
            raise full.pop()
        return end(log, *given, **more)

    monkeypatch.setattr(Recorder, "end", ends)
    person = Pressing({2: ["ready"], 8: ["success"], 12: ["ready"], 18: ["success"], 22: ["quit"]})
    delivered = worked(tmp_path, TwoJoints(), person=person, told=told)
    assert (len(delivered), left) == (1, [1, 1])
    assert "No space left on device" in told[0]
    assert "cut off when its log could not be written" in told[1]
    assert len(list((tmp_path / "landing").rglob("*.mcap"))) == 2
    assert not list((tmp_path / "spool").rglob("*.mcap*"))


def test_who_waits_for_a_policy_waits_in_the_time_of_those_who_release_it(tmp_path: Path) -> None:
    class Later(Channels):
        def newest(self, channel, now_ns):
            found = super().newest(channel, now_ns)
            return found if len(self.looks) > 2 else None

    arm, channels, rests = TwoJoints(), Later(), []
    worked(tmp_path, arm, referee=Says(3), policies=channels, episodes=1, idle=rests.append)
    assert rests == [2_000_000_000] * 2
    assert len(set(channels.looks)) == 1  # no time of the robot's own passed


def test_what_could_not_be_uploaded_is_said_at_the_end_and_goes_with_the_next(tmp_path: Path) -> None:
    landing, told = tmp_path / "landing", []
    landing.touch()
    assert worked(tmp_path, TwoJoints(), referee=Says(3), policies=Channels(), told=told, tries=1) == ()
    assert told[-1].startswith(f"2 logs wait in {tmp_path / 'spool' / 'r1'}; mend the way to {landing}")
    landing.unlink()
    told.clear()
    arm = TwoJoints(LeapTime(START_NS + 10**12))
    assert len(worked(tmp_path, arm, referee=Says(3), policies=Channels(), told=told)) == 2
    assert len(list(landing.rglob("*.mcap"))) == 4
    assert told == []


class Mad:
    """Fails in one of a device's, a robot's and a scene's ways."""

    def __init__(self, way: str) -> None:
        self.way = way

    def arm(self) -> TwoJoints:
        arm = TwoJoints()
        if self.way == "stop":
            arm.stop = self.raises
        if self.way in ("shape", "nan"):
            told = np.zeros(1) if self.way == "shape" else np.array([np.nan, 0])
            arm.act = lambda action: told
        return arm

    def person(self) -> Pressing | None:
        person = Pressing({1: ["ready"]})
        if self.way in ("device", "word"):
            person.pressed = self.raises if self.way == "device" else lambda: ["ready"]
            return person
        return None

    def raises(self, *_: object) -> None:
        raise RuntimeError("bus\ngone")

    reset = raises


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("stop", "robot r1: its stop failed (RuntimeError: bus gone); cut its power"),
        ("shape", "it says that it carried out [0.], which is no command of 2 numbers"),
        ("nan", "it says that it carried out [nan  0.], which is no command of 2 numbers"),
        ("device", "controls Pressing: RuntimeError: bus gone; look after the device"),
        ("word", "controls Pressing: TypeError: 'ready' is no Press; look after the device"),
        ("scene", "reach: the scene can't be set up (RuntimeError: bus gone)"),
    ],
)
def test_what_a_strangers_code_does_wrong_is_a_line_and_nothing_goes_on(
    tmp_path: Path, way: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mad = Mad(way)
    arm, person = mad.arm(), mad.person()
    if way == "scene":
        at = Stood.at
        monkeypatch.setattr(Stood, "at", lambda stood, task: replace(at(stood, task), scene=mad))
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        worked(tmp_path, arm, person=person, referee=Says(9), policies=None if person else Channels())
    assert "\n" not in str(caught.value)
    assert arm.did[-1] == "close"
    assert len(list((tmp_path / "landing").rglob("*.mcap"))) == (way == "stop")


@pytest.mark.parametrize(
    ("robot", "site"), [("../r1", "lab"), ("a/b", "lab"), ("", "lab"), ("r1", "../lab"), ("r1", "our lab")]
)
def test_names_that_are_no_folders_are_refused_before_anything_is_made(
    tmp_path: Path, robot: str, site: str
) -> None:
    settings = Settings(home=str(tmp_path / "home"))
    with pytest.raises(UserError, match="no name for one"), claimed(settings, [RobotSpec(robot, site)]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_logs_is_told_of_before_anything_moves(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    arm = TwoJoints()
    with pytest.raises(UserError, match="robot r1's logs can't be kept there .*; mend its rights"):
        worked(tmp_path, arm, policies=Channels())
    assert arm.did == []


def test_a_robot_without_tasks_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name one"):
        Rounds([], "run", Source.ONLINE)


def test_what_cannot_be_reached_is_a_line_and_all_is_let_go(tmp_path: Path) -> None:
    file = tmp_path / "two-joints.yaml"
    file.write_text(FILE)
    stand = RealStand(
        Settings(home=str(tmp_path)), f"{TwoJoints.__module__}:TwoJoints", {}, embodiment=str(file)
    )
    arm = stand.at(TASK).robot

    def gone():
        raise OSError("no such port")

    arm.connect = gone
    queue = Rounds([TASK], "run", Source.DEMONSTRATION)
    with pytest.raises(UserError, match=r"can't be connected .OSError: no such port"):
        run_robot(Settings(home=str(tmp_path)), stand, RobotSpec("r1", "lab"), queue, None)
    assert arm.did == ["close"]
    with pytest.raises(UserError, match="it brings no embodiment file; name one"):
        RealStand(Settings(home=str(tmp_path)), f"{TwoJoints.__module__}:TwoJoints", {})
    with pytest.raises(UserError, match="can't be made: TypeError"):
        RealStand(Settings(home=str(tmp_path)), f"{TwoJoints.__module__}:TwoJoints", {"port": 1})
    with pytest.raises(UserError, match="has no control_hz, observe, act, stop"):
        RealStand(Settings(home=str(tmp_path)), f"{TwoJoints.__module__}:Pressing", {})
