"""What happens by itself, each sensor and schedule asked directly: nothing dropped, nothing done twice."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.scripted import Scripted, land_scripted
from pipelines.assets.fleet import install_embodiment
from pipelines.definitions import defs
from pipelines.home import enter
from pipelines.partitions import SITES, Cell, valid_name
from pipelines.platform import Platform
from pipelines.schedules import nightly_retraining
from pipelines.sensors import canary_sensor, landing_sensor
from storage_schemas.tables import EPISODES
from storage_schemas.vocabulary import Source

DAY = "2025-03-05"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LWD_HOME", "DAGSTER_HOME", "DAGSTER_STATE_DIR", "LWD_PROFILE"):
        monkeypatch.setenv(name, "")  # so that what `enter` sets is taken back
    return enter(str(tmp_path), "tiny")


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


def upload(home: Path, name: str, site: str = "harbour", day: str = DAY) -> None:
    folder = home / "landing" / site / day / "harbour-00"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"no log at all: " + name.encode())


def ask(instance: dg.DagsterInstance) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, resources={"platform": Platform()})
    result = landing_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def asked(instance: dg.DagsterInstance) -> list[str | None]:
    return [request.partition_key for request in ask(instance).run_requests or []]


def ingest(instance: dg.DagsterInstance, cell: str) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("ingest_day")
    return job.execute_in_process(instance=instance, partition_key=cell, run_config={"loggers": {}})


def test_what_landed_is_asked_for_until_it_is_in(home: Path, instance: dg.DagsterInstance) -> None:
    assert asked(instance) == []
    upload(home, "a.mcap")
    first = ask(instance)
    assert [r.partition_key for r in first.run_requests or []] == [f"{DAY}|harbour"]
    assert [r.partition_keys for r in first.dynamic_partitions_requests or []] == [["harbour"]]
    # the answer rests on what lies there, not on having been asked before
    assert asked(instance) == [f"{DAY}|harbour"]
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    result = ingest(instance, f"{DAY}|harbour")
    quarantine = {e.check_name: e for e in result.get_asset_check_evaluations()}["quarantine"]
    assert not quarantine.passed
    assert quarantine.severity is dg.AssetCheckSeverity.WARN
    assert asked(instance) == []
    # a late upload to an old day
    upload(home, "b.mcap")
    assert asked(instance) == [f"{DAY}|harbour"]


def test_a_day_being_ingested_is_left_alone(home: Path, instance: dg.DagsterInstance) -> None:
    upload(home, "a.mcap")
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    instance.create_run_for_job(
        defs.resolve_job_def("ingest_day"),
        tags={"dagster/partition": f"{DAY}|harbour"},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert asked(instance) == []


@pytest.mark.parametrize(
    ("site", "day"), [("Harbour 1", DAY), ("harbour", "1999-01-01"), ("harbour", "2999-01-01")]
)
def test_what_can_be_no_partition_is_left_to_a_person(
    home: Path, instance: dg.DagsterInstance, site: str, day: str
) -> None:
    upload(home, "a.mcap", site, day)
    upload(home, "a.mcap")
    assert asked(instance) == [f"{DAY}|harbour"]


def test_no_canary_no_verdict(home: Path) -> None:
    context = dg.build_sensor_context(resources={"platform": Platform()})
    (answer,) = canary_sensor(context)
    assert isinstance(answer, dg.SkipReason)


def test_nights_without_new_episodes_are_skipped(home: Path, instance: dg.DagsterInstance) -> None:
    def tonight() -> dg.RunRequest | dg.SkipReason:
        context = dg.build_schedule_context(
            instance=instance,
            resources={"platform": Platform()},
            scheduled_execution_time=dt.datetime(2025, 3, 6, 2, tzinfo=dt.UTC),
        )
        return nightly_retraining(context)

    assert isinstance(tonight(), dg.SkipReason)
    row = {
        c.name: None if c.nullable else 0 if pa.types.is_integer(c.type) else "x" for c in EPISODES.columns
    }
    row |= {"source": "online", "day": DAY, "site": "harbour", "control_hz": 80.0}
    Platform().lake().append("episodes", pa.Table.from_pylist([row], schema=EPISODES.schema))
    request = tonight()
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == f"nightly-{DAY}"
    assert instance.get_dynamic_partitions("round") == [f"nightly-{DAY}"]


def test_a_backfill_of_days_and_sites_is_one_run(home: Path, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(str(SITES.name), ["harbour", "valley"])
    days = ["2025-03-05", "2025-03-06"]
    for day in days:
        for site in ("harbour", "valley"):
            upload(home, f"{day}-{site}.mcap", site, day)
    result = defs.resolve_job_def("ingest_day").execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": f"{days[0]}|harbour",
            "dagster/asset_partition_range_end": f"{days[1]}|valley",
        },
    )
    assert result.success
    cells = {Cell(day, site).key for day in days for site in ("harbour", "valley")}
    assert instance.get_materialized_partitions(dg.AssetKey("quality")) == cells
    assert Platform().lake().read("logs").num_rows == 4


def test_a_failed_check_stops_what_is_downstream(home: Path, instance: dg.DagsterInstance) -> None:
    upload(home, "a.mcap")
    cell = f"{DAY}|harbour"
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    assert ingest(instance, cell).success
    lake = Platform().lake()
    lake.append("logs", lake.read("logs"))  # every key twice
    job = defs.resolve_job_def("ingest_day")
    result = job.execute_in_process(instance=instance, partition_key=cell, raise_on_error=False)
    assert not result.success
    failed = {
        (e.asset_key.to_user_string(), e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    assert ("logs", "key") in failed
    made = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key}
    assert "episodes" in made
    assert not made & {"rewards", "outcomes", "quality"}


def evaluate(instance: dg.DagsterInstance, cursor: Any = None) -> dg.EvaluateAutomationConditionsResult:
    target = dg.AssetSelection.groups("labels")
    return dg.evaluate_automation_conditions(defs, instance, asset_selection=target, cursor=cursor)


def test_labels_follow_their_tables_also_on_an_old_day(home: Path, instance: dg.DagsterInstance) -> None:
    upload(home, "a.mcap")
    cell = f"{DAY}|harbour"
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    assert ingest(instance, cell).success
    first = evaluate(instance)
    # labelled in the same run: nothing to do
    second = evaluate(instance, first.cursor)
    assert second.total_requested == 0
    # somebody takes in the tables alone
    upload(home, "b.mcap")
    job = defs.resolve_job_def("ingest_day")
    tables = [dg.AssetKey(name) for name in ("logs", "episodes", "steps", "segments")]
    job.execute_in_process(instance=instance, partition_key=cell, asset_selection=tables)
    third = evaluate(instance, second.cursor)
    asked = {
        key: third.get_requested_partitions(dg.AssetKey(key)) for key in ("rewards", "outcomes", "quality")
    }
    assert all(partitions == {cell} for partitions in asked.values())


def scripted(home: Path, count: int, **script: object) -> None:
    install_embodiment(str(home / "embodiments"))
    for seed in range(count):
        start = 1_741_168_800 * 10**9 + seed * 60 * 10**9
        what = replace(Scripted("push", Source.ONLINE, seed, policy_id="p"), **script)
        land_scripted(str(home / "landing"), RobotSpec("harbour-00", "harbour"), DAY, start, what)


def test_a_day_of_bad_recordings_is_held_up(home: Path, instance: dg.DagsterInstance) -> None:
    """The labeller found two of three episodes frozen: a defect in more than half of them."""
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    scripted(home, 3)
    assert ingest(instance, f"{DAY}|harbour").success
    lake = Platform().lake()
    layer = lake.read("labels", where="layer_id = 'quality@1'")
    rows = layer.to_pylist()
    worst = sorted({row["episode_id"] for row in rows})[:2]
    for row in rows:
        if row["episode_id"] in worst and row["check"] == "defect.frozen_state":
            row["text"] = "fail"
    lake.replace("labels", pa.Table.from_pylist(rows, schema=layer.schema), {"layer_id": ["quality@1"]})
    again = defs.resolve_job_def("ingest_day").execute_in_process(
        instance=instance,
        partition_key=f"{DAY}|harbour",
        asset_selection=[dg.AssetKey("quality")],
        raise_on_error=False,
    )
    (verdict,) = [e for e in again.get_asset_check_evaluations() if e.check_name == "recordings_are_sound"]
    assert not verdict.passed
    assert not again.success


@pytest.mark.parametrize("name", ["a|b", "", "Ä", "a/b", "-x", "x" * 64])
def test_names_that_would_break_a_partition_key(name: str) -> None:
    with pytest.raises(Exception, match="not a name"):
        valid_name(name, "site")
