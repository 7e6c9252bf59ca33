"""What a live fleet's robots say and hear between their episodes."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.checkin import CheckIn
from lwd_core.fleet.config import sample_fleet
from lwd_core.fleet.live import Deployment, Told, run_live
from lwd_core.fleet.outbox import Outbox
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.supervisor import Unattended
from lwd_core.fleet.upload import Backoff
from lwd_core.fleet.workcells import Workcells
from lwd_core.policies.keys import rotate, signing_key
from lwd_core.robots.desired import desire
from lwd_core.robots.enrolment import folder_of
from lwd_core.robots.heartbeat import read_heartbeat
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel
from tests.lwd_core.fleet.test_live import NS, START, TASKS, Clock, Releases
from tests.lwd_core.robots.test_fleet_from_afar import joined


@pytest.fixture
def home(settings: Settings) -> Settings:
    rotate(settings.keys)
    return settings


def test_a_paused_robot_rests_between_episodes_and_goes_on(home: Settings, cells: Workcells) -> None:
    fleet = sample_fleet(TASKS, robots=1, cameras=0)
    robot = joined(home, fleet.robots[0].robot_id, fleet.robots[0].site)
    key, clock, releases, said = signing_key(home.keys), Clock(), Releases((0, "p")), []

    def landed(*_: object) -> None:
        if clock.ns < START + 60 * NS:
            desire(home, robot.robot_id, key, clock.ns, paused=True, why="cleaning", channel=Channel.CANARY)

    def waiting(_: RobotSpec, why: str) -> None:
        said.append((why, clock.ns))
        if clock.ns > START + 60 * NS:
            desire(home, robot.robot_id, key, clock.ns, paused=False)

    done = run_live(
        home,
        fleet,
        Deployment("test", supervisor=Unattended(), episodes=2),
        releases,
        told=Told(landed, waiting),
        now=clock.now,
        sleep=clock.sleep,
        cells=cells,
    )
    assert len(done) == 2
    assert {why for why, _ in said} == {"paused: cleaning"}
    assert done[1].episode.start_ns > START + 60 * NS, "no episode while it was paused"
    assert releases.asked[0] is Channel.PRODUCTION
    assert releases.asked[-1] is Channel.CANARY
    heard = read_heartbeat(home, robot)
    assert heard is not None
    assert (heard.beat.policy_id, heard.beat.channel, heard.beat.paused) == ("p", "canary", False)


def test_what_is_older_or_unsigned_is_not_heard(home: Settings, tmp_path: Path) -> None:
    joined(home, "arm-1", "lab")
    spec, said = RobotSpec("arm-1", "lab"), []
    spool = tmp_path / "spool"
    spool.mkdir()
    outbox = Outbox(home, spec, spool, Backoff(1), lambda: True, lambda *_: None, said.append)
    check_in = CheckIn(home, spec, said.append)
    key, path = signing_key(home.keys), Path(folder_of(home, "arm-1").root) / "desired.json"
    desire(home, "arm-1", key, START)
    old = path.read_bytes()
    desire(home, "arm-1", key, START, paused=True, why="fault")
    assert check_in(START, None, outbox, "").paused
    path.write_bytes(old)
    again = CheckIn(home, spec, said.append)
    assert again(START, None, outbox, "").paused, "it may have been paused: it rests until it hears better"
    assert "an older one was put back" in said[-1]
    assert check_in(START, None, outbox, "").paused, "and goes on with what it heard"
    path.write_bytes(old.replace(b'"paused":false', b'"paused":true'))
    check_in(START, None, outbox, "")
    assert "does not fit the bytes" in said[-1]
    with pytest.raises(UserError, match="say anew what is wanted"):
        desire(home, "arm-1", key, START, channel=Channel.CANARY)
    desire(home, "arm-1", key, 0, paused=False)  # a clock far behind
    assert not again(START, None, outbox, "").paused


def test_a_disk_that_is_gone_is_said_to_be_full(home: Settings, tmp_path: Path) -> None:
    robot, said = joined(home, "arm-1"), []
    spec = RobotSpec("arm-1", "lab")
    outbox = Outbox(home, spec, tmp_path / "gone", Backoff(), lambda: True, lambda *_: None, said.append)
    CheckIn(home, spec, said.append)(START, None, outbox, "reach")
    heard = read_heartbeat(home, robot)
    assert heard is not None
    assert (heard.beat.disk_free_bytes, said) == (0, [])


def test_a_robot_without_a_key_says_nothing(home: Settings, tmp_path: Path) -> None:
    outbox = Outbox(
        home, RobotSpec("arm-5", "lab"), tmp_path, Backoff(1), lambda: True, lambda *_: None, print
    )
    CheckIn(home, RobotSpec("arm-5", "lab"), print)(START, None, outbox, "")
    assert not Path(home.robots).exists()
