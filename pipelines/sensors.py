"""What happens by itself: logs that land are ingested, canaries are judged, failures and the inbox are told.

No sensor that works keeps a cursor: each compares what lies there with what the lake knows, so that a lost
cursor, a restart or a late upload to an old day drops nothing.
"""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from lwd_core.errors import UserError
from pipelines.jobs import canary_verdict, ingest_day, ingest_rest
from pipelines.partitions import SITES, Cell, partition
from pipelines.platform import Platform

#: Partitions asked for at once; the rest waits for the next tick.
CELLS_A_TICK = 50
#: A partition whose run failed is asked for again after so many seconds, twice as many after each failure …
FIRST_WAIT_S, LONGEST_WAIT_S = 60, 6 * 3600
#: Address that failed runs and what needs a person's eye are posted to, as JSON ``{"text": …}``.
WEBHOOK = "LWD_FAILURE_WEBHOOK"
#: Lines of one notice.
NOTICES = 20
_DAY_NS = 86_400 * 10**9
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(
    jobs=[ingest_day, ingest_rest],
    minimum_interval_seconds=20,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Days and sites whose landing zone holds logs the lake has no row of, and logs of none.",
)
def landing_sensor(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
    from lwd_core.ingest.pending import waiting

    found = waiting(platform.lake(), platform.settings)
    fit, unfit = _fitting(found)
    for what in unfit:
        context.log.warning(f"{what}; ingest_rest takes it, in no partition")
    busy = _busy(context.instance)
    suspects = _failed_lately(context.instance)
    resting = {
        cell.key: why
        for cell in fit
        if cell.key in suspects - busy and (why := _rests(context.instance, ingest_day.name, cell.key))
    }
    if unfit and "" in suspects and (why := _rests(context.instance, ingest_rest.name)):
        resting[ingest_rest.name] = why
    for what in resting.values():
        context.log.warning(what)
    free = [cell for cell in fit if cell.key not in busy and cell.key not in resting]
    asked = free[:CELLS_A_TICK]
    requests = [dg.RunRequest(job_name=ingest_day.name, partition_key=cell.key) for cell in asked]
    if (
        unfit
        and ingest_rest.name not in resting
        and not context.instance.get_runs(
            dg.RunsFilter(job_name=ingest_rest.name, statuses=_UNFINISHED), limit=1
        )
    ):
        requests.append(dg.RunRequest(job_name=ingest_rest.name, tags={"logs": str(len(unfit))}))
    known = set(context.instance.get_dynamic_partitions(str(SITES.name)))
    new_sites = sorted({cell.site for cell in asked} - known)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[SITES.build_add_request(new_sites)] if new_sites else [],
        skip_reason=None if requests else _why_not(len(busy), [*resting.values(), *unfit]),
    )


def _why_not(running: int, obstacles: list[str]) -> str:
    """What the sensor's page says where nothing is asked for."""
    more = f"; and {len(obstacles) - 5} more" if len(obstacles) > 5 else ""
    return "; ".join([f"nothing new, {running} partitions are being ingested", *obstacles[:5]]) + more


def _fitting(found: dict[tuple[str, str], list[str]]) -> tuple[list[Cell], list[str]]:
    """Cells that are partitions, oldest first, and complaints about those that can't be."""
    fit: list[Cell] = []
    unfit: list[str] = []
    for (day, site), uris in sorted(found.items()):
        try:
            fit.append(partition(day, site))
        except UserError as error:
            unfit.append(f"{_all_of(uris)}: {error}")
    return fit, unfit


def _all_of(uris: list[str]) -> str:
    return uris[0] + (f" and {len(uris) - 1} more" if len(uris) > 1 else "")


_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def _failed_lately(instance: dg.DagsterInstance) -> set[str]:
    """Partitions whose runs failed since the longest wait; empty text for what has none."""
    since = datetime.fromtimestamp(time.time() - LONGEST_WAIT_S, UTC)
    runs = instance.get_run_records(dg.RunsFilter(statuses=_FAILED, updated_after=since), limit=1000)
    return {record.dagster_run.tags.get("dagster/partition", "") for record in runs}


def _rests(instance: dg.DagsterInstance, job: str, partition: str = "") -> str:
    """What to say of an ingest whose last runs failed too lately to try again; empty where it may run."""
    tags = {"dagster/partition": partition} if partition else {}
    runs = instance.get_run_records(dg.RunsFilter(job_name=job, tags=tags), limit=16)
    count = [*(record.dagster_run.status in _FAILED for record in runs), False].index(False)
    if not count:
        return ""
    last, wait = runs[0], min(FIRST_WAIT_S * 2 ** (count - 1), LONGEST_WAIT_S)
    again = (last.end_time or last.update_timestamp.timestamp()) + wait
    if again <= time.time():
        return ""
    times = "1 time" if count == 1 else f"{count} times in a row"
    return (
        f"{partition or job} failed {times} (run {last.dagster_run.run_id[:8]}), "
        f"tried again at {datetime.fromtimestamp(again, UTC):%H:%M} UTC"
    )


def _busy(instance: dg.DagsterInstance) -> set[str]:
    """Partitions an unfinished ingest works on."""
    runs = instance.get_runs(dg.RunsFilter(job_name=ingest_day.name, statuses=_UNFINISHED))
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}


@dg.sensor(
    job=canary_verdict,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Promotes or rolls back the canary once its episodes decide (docs/policies.md).",
)
def canary_sensor(
    context: dg.SensorEvaluationContext, platform: Platform
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    from lwd_core.policies.canary import Decision
    from lwd_core.policies.promotion import standing

    found = standing(platform.lake())
    if found is None:
        yield dg.SkipReason("no canary beside production")
        return
    if found.verdict.decision is Decision.WAIT:
        yield dg.SkipReason(f"{found.verdict.reason} ({found.verdict.episodes} episodes)")
        return
    # a release is judged once: its id is the key
    yield dg.RunRequest(run_key=f"{found.canary.release_id}-{found.verdict.decision}")


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Posts failed runs to the address in {WEBHOOK}, if there is one.",
)
def failure_notice(context: dg.RunFailureSensorContext) -> None:
    run = context.dagster_run
    partition = run.tags.get("dagster/partition", "")
    _post(f"{run.job_name} {partition} failed: {context.failure_event.message} (run {run.run_id})")


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Posts what newly needs a person's eye (`lwd inbox`) to the address in {WEBHOOK}.",
)
def inbox_notice(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
    """Its cursor is the time of the last thing told; where that is lost, a day is told twice."""
    if not os.environ.get(WEBHOOK):
        return dg.SensorResult(skip_reason=f"no address in {WEBHOOK}")
    from lwd_core.reports.inbox import inbox

    now_ns = platform.now_ns()
    since = int(context.cursor or now_ns - _DAY_NS)
    items = inbox(platform.lake(), now_ns=now_ns)
    new = [item for item in items if since < item.when_ns <= now_ns]
    lines = [f"{item.kind}: {item.what}: {item.says} ({item.look})" for item in new[:NOTICES]]
    if len(new) > NOTICES:
        lines.append(f"and {len(new) - NOTICES} more: lwd inbox")
    if lines:
        _post("\n".join(lines))
    told = max((item.when_ns for item in new), default=since)
    return dg.SensorResult(skip_reason=f"{len(new)} new of {len(items)} to look at", cursor=str(told))


def _post(text: str) -> None:
    import urllib.request

    address = os.environ.get(WEBHOOK)
    if not address:
        return
    request = urllib.request.Request(
        address, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


SENSORS = [landing_sensor, canary_sensor, failure_notice, inbox_notice]
