"""What happens by itself, each sensor and schedule asked directly: nothing dropped, nothing done twice."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest as take_in
from lwd_core.snapshots.select import pin, selected
from pipelines.assets.snapshots import left_out, snapshot_spec
from pipelines.definitions import defs
from pipelines.home import enter
from pipelines.partitions import SITES, Cell, valid_site
from pipelines.platform import Platform
from pipelines.schedules import nightly_retraining
from pipelines.sensors import canary_sensor, inbox_notice, landing_sensor
from storage_schemas.vocabulary import Source
from tests.lwd_core.scripted import Scripted, land_scripted

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
    (logs,) = result.asset_materializations_for_node("ingest")[:1]
    assert logs.metadata["quarantined"].value == 1
    assert "a.mcap: no known log format" in str(logs.metadata["quarantined because"].value)
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


def test_a_partition_that_fails_is_let_rest_and_others_go_on(
    home: Path, instance: dg.DagsterInstance
) -> None:
    upload(home, "a.mcap")
    upload(home, "b.mcap", day="2024-02-29")
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    for _ in range(2):
        instance.create_run_for_job(
            defs.resolve_job_def("ingest_day"),
            tags={"dagster/partition": f"{DAY}|harbour"},
            status=dg.DagsterRunStatus.FAILURE,
        )
    assert asked(instance) == ["2024-02-29|harbour"]
    ingest(instance, "2024-02-29|harbour")
    waits = ask(instance)
    assert not waits.run_requests
    assert f"{DAY}|harbour failed 2 times in a row (run " in str(waits.skip_reason)
    assert "tried again at" in str(waits.skip_reason)


def test_what_newly_needs_an_eye_is_posted_once(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("pipelines.sensors._post", told.append)

    def notice(cursor: str | None) -> str | None:
        resources = {"platform": Platform()}
        context = dg.build_sensor_context(instance=instance, resources=resources, cursor=cursor)
        result = inbox_notice(context)
        assert isinstance(result, dg.SensorResult)
        return result.cursor

    upload(home, "a.mcap")
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    ingest(instance, f"{DAY}|harbour")
    monkeypatch.delenv("LWD_FAILURE_WEBHOOK", raising=False)
    assert notice(None) is None
    monkeypatch.setenv("LWD_FAILURE_WEBHOOK", "http://127.0.0.1:9/")
    cursor = notice(None)
    (line,) = told
    assert line.startswith(f"quarantined: harbour/{DAY}/harbour-00/a.mcap: ")
    assert "no known log format" in line
    assert notice(cursor) == cursor
    assert len(told) == 1
    upload(home, "b.mcap")
    ingest(instance, f"{DAY}|harbour")
    assert notice(cursor) != cursor
    assert len(told) == 2


def test_what_is_no_partition_goes_to_a_job_of_its_own_and_rests_too(
    home: Path, instance: dg.DagsterInstance
) -> None:
    upload(home, "a.mcap", day="1970-01-01")
    (asked_for,) = ask(instance).run_requests or ()
    assert (asked_for.job_name, asked_for.partition_key) == ("ingest_rest", None)
    instance.create_run_for_job(defs.resolve_job_def("ingest_rest"), status=dg.DagsterRunStatus.FAILURE)
    said = str(ask(instance).skip_reason)
    assert "ingest_rest failed 1 time (run " in said
    assert "harbour/1970-01-01/harbour-00/a.mcap: day 1970-01-01 is not between 2020-01-01 and today" in said


@pytest.mark.parametrize(
    ("site", "day"),
    [("Harbour 1", DAY), ("harbour", "1970-01-01"), ("harbour", "2999-01-01"), ("harbour", "2025-13-01")],
)
def test_what_can_be_no_partition_is_taken_in_all_the_same(
    home: Path, instance: dg.DagsterInstance, site: str, day: str
) -> None:
    upload(home, "a.mcap", site, day)
    upload(home, "b.mcap")
    requests = ask(instance).run_requests or []
    assert [(r.job_name, r.partition_key) for r in requests] == [
        ("ingest_day", f"{DAY}|harbour"),
        ("ingest_rest", None),
    ]
    defs.resolve_job_def("ingest_rest").execute_in_process(instance=instance, run_config={"loggers": {}})
    rows = Platform().lake().read("logs", columns=["uri"]).to_pylist()
    assert rows == [{"uri": f"{site}/{day}/harbour-00/a.mcap"}]
    assert asked(instance) == [f"{DAY}|harbour"]


def test_sites_are_those_that_lwd_ingest_takes(home: Path, instance: dg.DagsterInstance) -> None:
    upload(home, "a.mcap", "Lab-1")
    assert asked(instance) == [f"{DAY}|Lab-1"]


def test_no_canary_no_verdict(home: Path) -> None:
    context = dg.build_sensor_context(resources={"platform": Platform()})
    (answer,) = canary_sensor(context)
    assert isinstance(answer, dg.SkipReason)


def tonight(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(
        instance=instance,
        resources={"platform": Platform()},
        scheduled_execution_time=dt.datetime(2025, 3, 6, 2, tzinfo=dt.UTC),
    )
    return nightly_retraining(context)


def test_a_night_before_the_first_release_is_skipped(home: Path, instance: dg.DagsterInstance) -> None:
    answer = tonight(instance)
    assert isinstance(answer, dg.SkipReason)
    assert "production" in str(answer.skip_message)


def test_a_night_trains_on_sound_episodes_of_its_tasks_only(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a filter or a defect keeps out of snapshots must not wake every night anew."""
    monkeypatch.setattr("pipelines.assets.policies.baseline", lambda platform: "a policy")
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    assert isinstance(tonight(instance), dg.SkipReason)  # an empty lake
    scripted(home, 1)  # "push" is no task of the profile
    assert ingest(instance, f"{DAY}|harbour").success
    assert isinstance(tonight(instance), dg.SkipReason)
    scripted(home, 1, task="drawer-open")
    assert ingest(instance, f"{DAY}|harbour").success
    request = tonight(instance)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == f"nightly-{DAY}"
    assert instance.get_dynamic_partitions("round") == [f"nightly-{DAY}"]
    assert left_out(Platform().lake(), snapshot_spec(Platform().plan, "online-1")) == []
    spoil("defect.gaps", "task = 'drawer-open'")
    assert isinstance(tonight(instance), dg.SkipReason)
    (row,) = left_out(Platform().lake(), snapshot_spec(Platform().plan, "online-1"))
    assert (row["check"], row["episodes"]) == ("defect.gaps", 1)
    lake, spec = Platform().lake(), snapshot_spec(Platform().plan, "online-1")
    with pytest.raises(UserError, match="no episode"):
        selected(lake, spec, pin(lake, spec))


def test_a_profile_may_block_other_checks(home: Path) -> None:
    plan = Platform().plan.model_copy(update={"snapshot": {"labels": {"blocking": []}, "chunk": 5}})
    labels = snapshot_spec(plan, "offline").labels
    assert labels.blocking == ()
    assert labels.reward == "reward.sparse@1"


def spoil(check: str, where: str) -> None:
    """Let a check have failed on these episodes."""
    lake = Platform().lake()
    ids = set(lake.read("episodes", columns=["episode_id"], where=where).column(0).to_pylist())
    layer = lake.read("labels", where="layer_id = 'quality@1'")
    rows = layer.to_pylist()
    for row in rows:
        if row["episode_id"] in ids and row["check"] == check:
            row["text"] = "fail"
    lake.replace("labels", pa.Table.from_pylist(rows, schema=layer.schema), {"layer_id": ["quality@1"]})


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


def test_each_partition_of_a_run_shows_its_own_rows(home: Path, instance: dg.DagsterInstance) -> None:
    sites = {"harbour": 1, "valley": 2}
    instance.add_dynamic_partitions(str(SITES.name), list(sites))
    for site, count in sites.items():
        for number in range(count):
            upload(home, f"{number}.mcap", site)
    defs.resolve_job_def("ingest_day").execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": f"{DAY}|harbour",
            "dagster/asset_partition_range_end": f"{DAY}|valley",
        },
    )
    events = instance.fetch_materializations(dg.AssetKey("logs"), limit=10).records
    shown = {e.partition_key: e.asset_materialization.metadata for e in events if e.asset_materialization}
    assert {key: m["dagster/partition_row_count"].value for key, m in shown.items()} == {
        f"{DAY}|{site}": count for site, count in sites.items()
    }
    tables = {key: m["received"].value for key, m in shown.items()}
    assert "| 1 |" in tables[f"{DAY}|harbour"]
    assert "| 2 |" in tables[f"{DAY}|valley"]


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


def reconciliation(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    return next(e for e in result.get_asset_check_evaluations() if e.check_name == "reconciliation")


def test_what_lands_during_a_run_is_the_next_ones(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet uploads all day: it must not fail the run that works meanwhile."""

    def meanwhile(*arguments: object, **named: object) -> object:
        found = take_in(*arguments, **named)  # type: ignore[arg-type]
        upload(home, "b.mcap")
        return found

    monkeypatch.setattr("lwd_core.ingest.commit.ingest", meanwhile)
    upload(home, "a.mcap")
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    result = ingest(instance, f"{DAY}|harbour")
    assert reconciliation(result).passed
    assert reconciliation(result).metadata["landed since"].value == 1
    assert asked(instance) == [f"{DAY}|harbour"]


def test_a_log_that_ingest_passed_over_is_lost(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(lake: object, settings: object, _paths: object, **named: object) -> object:
        return take_in(lake, settings, [], **named)  # type: ignore[arg-type]

    monkeypatch.setattr("lwd_core.ingest.commit.ingest", blind)
    upload(home, "a.mcap")
    instance.add_dynamic_partitions(str(SITES.name), ["harbour"])
    job = defs.resolve_job_def("ingest_day")
    result = job.execute_in_process(instance=instance, partition_key=f"{DAY}|harbour", raise_on_error=False)
    assert not result.success
    assert not reconciliation(result).passed


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
    Workcells().install(str(home / "embodiments"))
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


@pytest.mark.parametrize("name", ["a|b", "", "Ä", "a/b", "a...b", "..", "x" * 81])
def test_names_that_would_break_a_partition_key(name: str) -> None:
    with pytest.raises(Exception, match="not a name"):
        valid_site(name)
