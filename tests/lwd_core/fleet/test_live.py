import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded
from lwd_core.fleet.config import FleetConfig, sample_fleet
from lwd_core.fleet.link import Outages
from lwd_core.fleet.live import Deployment, Told, run_live
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.supervisor import Unattended
from lwd_core.fleet.workcells import Workcells
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel, Source
from tests.lwd_core.fleet.conftest import Scripted
from tests.lwd_core.fleet.logs import Log

NS = 10**9
START = 1_770_000_000 * NS
TASKS = ("drawer-open",)


class Clock:
    """True time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.ns = START

    def now(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * NS)


class Releases:
    """Releases by time, for every channel the same."""

    def __init__(self, *at: tuple[float, str]) -> None:
        self.at = [(START + round(s * NS), Scripted(policy_id)) for s, policy_id in at]
        self.asked: list[Channel] = []

    def newest(self, channel: Channel, now_ns: int) -> Loaded | None:
        self.asked.append(channel)
        out = [(t, policy) for t, policy in self.at if t <= now_ns]
        return Loaded(out[-1][1], f"r{len(out)}", out[-1][0], now_ns) if out else None


@pytest.fixture
def live(settings: Settings, cells: Workcells) -> Callable:
    def run(fleet: FleetConfig, releases: Releases, clock: Clock, told: Told | None = None, **deployment):
        work = Deployment("test", supervisor=Unattended(), **deployment)
        return run_live(
            settings,
            fleet,
            work,
            releases,
            told=told or Told(),
            now=clock.now,
            sleep=clock.sleep,
            cells=cells,
        )

    return run


def test_a_new_release_is_taken_between_episodes_and_named_by_every_step(live: Callable) -> None:
    # an episode of 200 ticks lasts 2.5 s, setting up 2 s: the release falls into the second episode
    delivered = live(
        sample_fleet(TASKS, robots=1, cameras=0), Releases((0, "old"), (5, "new")), Clock(), episodes=3
    )
    logs = [Log(d.log.uri) for d in delivered]
    ids = [{c.policy_id for c in log.messages["/actor"]} for log in logs]
    assert ids == [{"old"}, {"old"}, {"new"}]
    notes = logs[2].attributes("episode_start")
    assert notes["release_id"] == "r2"
    assert int(notes["released_ns"]) == START + 5 * NS
    assert int(notes["loaded_ns"]) == START + 9 * NS


def test_robots_wait_for_the_first_release(live: Callable) -> None:
    clock, waited = Clock(), []
    told = Told(waiting=lambda robot, why: waited.append(why))
    delivered = live(sample_fleet(TASKS, robots=2, cameras=0), Releases((7, "p")), clock, told, episodes=1)
    assert len(delivered) == 2
    assert set(waited) == {"no policy to run yet"}
    assert min(d.episode.start_ns for d in delivered) == START + 8 * NS


def test_logs_of_an_outage_are_delivered_afterwards_all_of_them(live: Callable) -> None:
    outages = Outages(share=0.5, length_s=6)
    landed_online = []
    clock = Clock()
    told = Told(landed=lambda robot, log, ran: landed_online.append(outages.online(robot.robot_id, clock.ns)))
    delivered = live(
        sample_fleet(TASKS, robots=3, cameras=0),
        Releases((-1, "p")),
        clock,
        told,
        episodes=4,
        outages=outages,
    )
    assert len(delivered) == len({d.log.sha256 for d in delivered}) == 12
    assert landed_online == [True] * 12
    offline_ends = [
        d for d in delivered if not outages.online(d.episode.robot_id, d.episode.start_ns + round(2.5 * NS))
    ]
    assert offline_ends  # some episodes did end without a line


def test_a_robot_without_a_line_keeps_running_what_it_has(live: Callable) -> None:
    class Late(Outages):
        def online(self, robot_id: str, now_ns: int) -> bool:
            return now_ns < START + NS or now_ns > START + 20 * NS

    delivered = live(
        sample_fleet(TASKS, robots=1, cameras=0),
        Releases((0, "old"), (3, "new")),
        Clock(),
        episodes=3,
        outages=Late(),
    )
    assert [d.episode.policy_id for d in delivered] == ["old"] * 3


def test_canary_robots_ask_their_own_channel(live: Callable) -> None:
    releases = Releases((0, "p"))
    robots = (RobotSpec("a", "north"), RobotSpec("b", "north", channel=Channel.CANARY))
    live(FleetConfig(robots, TASKS), releases, Clock(), episodes=1)
    assert sorted(releases.asked) == ["canary", "production"]


def test_stopping_lets_episodes_end(settings: Settings, cells: Workcells) -> None:
    clock = Clock()
    delivered = run_live(
        settings,
        sample_fleet(TASKS, robots=2, cameras=0),
        Deployment("stop", supervisor=Unattended()),
        Releases((0, "p")),
        stop=lambda: clock.ns > START + 10 * NS,
        now=clock.now,
        sleep=clock.sleep,
        cells=cells,
    )
    assert len(delivered) == 6
    assert all(Log(d.log.uri).events[-1] == "episode_end" for d in delivered)
    assert not list(Path(settings.home, "spool").rglob("*.mcap*"))


_VICTIM = """
import sys
from lwd_core.fleet.config import sample_fleet
from lwd_core.fleet.live import Deployment, run_live
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.supervisor import Unattended
from lwd_core.settings import Settings
from tests.lwd_core.fleet.test_live import Releases, Scripted

class Slow(Scripted):
    def act(self, states, instructions, generator, frames=None, embodiment=""):
        print("planning", flush=True)
        sys.stdin.readline() if len(self.batches) == 30 else None
        return super().act(states, instructions, generator)

releases = Releases((-1, "p"))
releases.at = [(0, Slow("p"))]
run_live(Settings(home=sys.argv[1]), sample_fleet(["drawer-open"], robots=1, cameras=0),
         Deployment("killed", episodes=1, speed=0, supervisor=Unattended()), releases)
"""


def test_a_robot_killed_in_mid_episode_leaves_a_truncated_log_that_is_uploaded_next_time(
    settings: Settings, cells: Workcells, live: Callable
) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _VICTIM, settings.home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as victim:
        assert victim.stdout is not None
        # it waits in its 31st plan, 150 ticks into the episode
        planned = [victim.stdout.readline() for _ in range(31)]
        victim.kill()
    assert all(planned)
    seen = []
    told = Told(landed=lambda robot, log, ran: seen.append((Path(log.uri).name, ran)))
    live(sample_fleet(TASKS, robots=1, cameras=0), Releases((0, "p")), Clock(), told, episodes=1)
    assert [ran is None for _, ran in seen] == [True, False]
    landed = sorted(Path(settings.landing).rglob("*.mcap"))
    assert len(landed) == 2
    endings = [path.read_bytes()[-8:] == b"\x89MCAP0\r\n" for path in landed]
    assert sorted(endings) == [False, True]
    assert all(path.with_name(path.name + ".sha256").exists() for path in landed)


@given(st.floats(0, 1), st.integers(1, 100))
def test_the_share_of_time_offline_is_as_asked(share: float, length_s: int) -> None:
    outages = Outages(share, length_s)
    online = [outages.online("arm", i * length_s * NS) for i in range(400)]
    assert 1 - sum(online) / 400 == pytest.approx(share, abs=0.12)


def test_outages_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="outages"):
        Outages(share=2)
    assert json.dumps(Loaded(Scripted(), "r", 1, 2).notes())


def test_play_is_a_source_of_the_deployed_fleet(live: Callable) -> None:
    delivered = live(
        sample_fleet(TASKS, robots=2, cameras=0), Releases((0, "p")), Clock(), episodes=6, play=0.5
    )
    played = [d.episode for d in delivered if d.episode.source is Source.PLAY]
    assert 0 < len(played) < 12
    assert all(ran.policy_id is None and ran.human_steps == ran.steps for ran in played)
    assert {d.episode.policy_id for d in delivered if d.episode.source is Source.ONLINE} == {"p"}
    with pytest.raises(UserError, match="share of the episodes"):
        Deployment("x", play=2)


def test_a_robot_is_driven_by_one_process_at_a_time(settings: Settings, live: Callable) -> None:
    fleet = sample_fleet(TASKS, robots=1, cameras=0)
    with claimed(settings, fleet.robots):
        with pytest.raises(UserError, match="another process drives robot arm-00"):
            live(fleet, Releases((0, "p")), Clock(), episodes=1)
        other = FleetConfig((RobotSpec("arm-99", "north"),), TASKS)
        assert len(live(other, Releases((0, "p")), Clock(), episodes=1)) == 1
    assert len(live(fleet, Releases((0, "p")), Clock(), episodes=1)) == 1
