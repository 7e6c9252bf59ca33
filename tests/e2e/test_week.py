"""A week of the platform by itself, and the state it leaves (docs/operations.md, "A week").

Robots follow a script (what they can do is not the question); logs, ingest, labels, snapshots, training,
evaluation, gate, releases, sensors and schedules are the real ones. Two to three minutes on two cores.

Monday demonstrations, Tuesday rollouts: the two rounds a person starts. From Wednesday on the nights
retrain. Thursday every upload is damaged. Friday the canary fails, and a log of Tuesday arrives late.
Saturday's canary is good. Sunday's has too few episodes to be judged.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.reconcile import unaccounted
from lwd_core.lake.store import Lake
from lwd_core.lineage import trace
from lwd_core.policies.channel_file import Release, current
from lwd_core.policies.keys import trusted_keys
from pipelines.definitions import defs
from pipelines.home import enter
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.schedules import nightly_retraining
from pipelines.sensors import canary_sensor, landing_sensor
from storage_schemas.vocabulary import Channel, Source
from tests.lwd_core.scripted import Scripted, land_scripted

pytestmark = [
    pytest.mark.e2e,
    # Dagster's Pipes session reads it itself
    pytest.mark.filterwarnings("ignore:.*run_id.*:DeprecationWarning"),
]
TASK = "button-press-topdown"
MON, TUE, WED, THU, FRI, SAT, SUN = (f"2025-03-{day:02d}" for day in range(3, 10))
SECOND = 1_000_000_000


class Week:
    """The fleet and the daemon: each does what the real one would when it is asked."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.platform = Platform()
        self.resources = {"platform": self.platform}
        self.recorded = 0
        self.nights: list[str] = []
        self.verdicts: list[str] = []
        Workcells().install(self.platform.settings.embodiments)

    @property
    def lake(self) -> Lake:
        return self.platform.lake()

    def on(self, channel: Channel) -> Release:
        settings = self.platform.settings
        release = current(settings.releases, channel, trusted_keys(settings.keys))
        assert release is not None
        return release

    def work(self, day: str, script: Scripted, count: int, *, site: str = "harbour") -> None:
        """Record and upload so many episodes, one a minute."""
        robot = RobotSpec(f"{site}-00", site)
        noon = int(dt.datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * SECOND
        for _ in range(count):
            self.recorded += 1
            start = noon + self.recorded * 60 * SECOND
            land_scripted(
                self.platform.settings.landing, robot, day, start, replace(script, seed=self.recorded)
            )

    def damaged(self, day: str, count: int) -> None:
        folder = Path(self.platform.settings.landing) / "harbour" / day / "harbour-00"
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{i}.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes([i]) * 500)

    def run(self, job: str, partition: str | None = None) -> None:
        done = defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, run_config={"loggers": {}}
        )
        assert done.success

    def tick(self) -> None:
        """Sensors until they are content."""
        while True:
            context = dg.build_sensor_context(instance=self.instance, resources=self.resources)
            asked = landing_sensor(context)
            assert isinstance(asked, dg.SensorResult)
            for request in asked.dynamic_partitions_requests or []:
                self.instance.add_dynamic_partitions(
                    request.partitions_def_name, list(request.partition_keys)
                )
            for request in asked.run_requests or []:
                self.run("ingest_day", request.partition_key)
            if not asked.run_requests:
                break
        (verdict,) = canary_sensor(dg.build_sensor_context(resources=self.resources))
        if isinstance(verdict, dg.RunRequest):
            self.run("canary_verdict")
            self.verdicts.append(str(verdict.run_key).partition("-")[2])

    def night(self, day: str) -> None:
        """Two o'clock of the morning after."""
        at = dt.datetime.fromisoformat(f"{day}T02:00:00+00:00") + dt.timedelta(days=1)
        answer = nightly_retraining(
            dg.build_schedule_context(
                instance=self.instance, resources=self.resources, scheduled_execution_time=at
            )
        )
        if isinstance(answer, dg.RunRequest):
            assert answer.partition_key
            self.run("learning_round", answer.partition_key)
            self.nights.append(answer.partition_key)

    def begin(self, round_name: str) -> None:
        """A person starts a round of the profile."""
        self.instance.add_dynamic_partitions(str(ROUNDS.name), [round_name])
        self.run("learning_round", round_name)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LWD_HOME", "DAGSTER_HOME", "DAGSTER_STATE_DIR", "LWD_PROFILE"):
            patch.setenv(name, "")  # so that what `enter` sets is taken back
        home = enter(str(tmp_path_factory.mktemp("week")), str(Path(__file__).with_name("week.yaml")))
        with dg.DagsterInstance.get() as instance:
            yield lived(Week(home, instance))


def lived(week: Week) -> Week:
    demonstration = Scripted(TASK, Source.DEMONSTRATION, 0)
    week.work(MON, demonstration, 3)
    week.work(MON, demonstration, 3, site="valley")
    week.tick()
    week.begin("sft")

    first = Scripted(TASK, Source.ROLLOUT, 0, policy_id=week.on(Channel.PRODUCTION).policy_id)
    week.work(TUE, first, 6)
    week.work(TUE, replace(first, success=False), 2)
    week.tick()
    week.begin("offline")

    def driven(channel: Channel) -> Scripted:
        return Scripted(TASK, Source.ONLINE, 0, policy_id=week.on(channel).policy_id)

    week.work(WED, driven(Channel.PRODUCTION), 20)
    week.work(WED, replace(driven(Channel.PRODUCTION), success=False, taken_over=True), 4)
    week.tick()
    week.night(WED)

    week.damaged(THU, 5)
    week.tick()
    week.night(THU)

    week.work(TUE, replace(first, success=False), 1)  # a robot that was offline since
    week.work(FRI, replace(driven(Channel.CANARY), success=False, taken_over=True), 12)
    week.work(FRI, driven(Channel.PRODUCTION), 4, site="valley")
    week.tick()
    week.night(FRI)

    week.work(SAT, driven(Channel.CANARY), 30)
    week.tick()
    week.night(SAT)

    week.work(SUN, driven(Channel.CANARY), 5)
    week.tick()
    week.night(SUN)
    week.run("upkeep")
    return week


def policy_of(week: Week, run: str) -> dict:
    return week.lake.read("policies", where="config->>'run' = ?", params=(run,)).to_pylist()[0]


def test_nights_with_new_episodes_trained_and_no_other(week: Week) -> None:
    assert week.nights == [f"nightly-{day}" for day in (WED, FRI, SAT, SUN)]
    trained = week.lake.sql("SELECT config->>'run' AS run FROM policies ORDER BY created_ns").to_pylist()
    assert [row["run"] for row in trained] == ["sft", "offline", *week.nights]


def test_the_bad_canary_was_rolled_back_and_the_good_one_promoted(week: Week) -> None:
    assert week.verdicts == ["roll_back", "promote"]
    bad, good, last = (policy_of(week, f"nightly-{day}")["policy_id"] for day in (WED, FRI, SUN))
    assert week.on(Channel.PRODUCTION).policy_id == good
    assert week.on(Channel.CANARY).policy_id == last
    states = week.lake.sql(
        "SELECT channel, state, evidence FROM releases WHERE policy_id = ? ORDER BY created_ns", (bad,)
    ).to_pylist()
    assert {(s["channel"], s["state"]) for s in states} == {("canary", "canary"), ("canary", "rolled_back")}
    evidence = json.loads(next(s["evidence"] for s in states if s["state"] == "rolled_back"))
    assert evidence["decision"] == "roll_back"
    assert evidence["episodes"] == 12


def test_every_night_went_on_from_what_the_fleet_ran(week: Week) -> None:
    offline, friday = policy_of(week, "offline")["policy_id"], policy_of(week, f"nightly-{FRI}")["policy_id"]
    parents = [policy_of(week, night)["parent"] for night in week.nights]
    assert parents == [offline, offline, friday, friday]


def test_the_damaged_day_is_in_quarantine_and_in_no_training_set(week: Week) -> None:
    rows = week.lake.read("logs", where="day = ?", params=(THU,)).to_pylist()
    assert len(rows) == 5
    assert {row["state"] for row in rows} == {"quarantined"}
    assert all(row["reason"] for row in rows)
    assert week.lake.read("episodes", where="day = ?", params=(THU,)).num_rows == 0
    made_of = trace(week.lake, week.on(Channel.CANARY).policy_id)
    assert THU not in made_of.episodes.column("day").to_pylist()


def test_nothing_is_lost_and_nothing_waits(week: Week) -> None:
    landing = Path(week.platform.settings.landing)
    received = [path for path in landing.rglob("*.mcap") if path.is_file()]
    rows = week.lake.read("logs").to_pylist()
    assert {row["uri"] for row in rows} == {str(path.relative_to(landing)) for path in received}
    assert week.lake.read("episodes").num_rows == week.recorded == len(received) - 5
    late = week.lake.read("episodes", where="day = ?", params=(TUE,))
    assert late.num_rows == 9
    before = week.lake.versions()
    week.tick()
    week.night(SUN)
    assert week.lake.versions() == before
    assert unaccounted(week.lake, week.platform.settings.landing) == []
