"""What happens by itself: logs that land are ingested, canaries are judged, failures are told.

No sensor keeps a cursor: each compares what lies there with what the lake knows, so that a lost
cursor, a restart or a late upload to an old day drops nothing.
"""

import json
import os
from collections.abc import Iterator

import dagster as dg

from lwd_core.errors import UserError
from pipelines.jobs import canary_verdict, ingest_day, ingest_rest
from pipelines.partitions import SITES, Cell, partition
from pipelines.platform import Platform

#: Partitions asked for at once; the rest waits for the next tick.
CELLS_A_TICK = 50
#: Address that failed runs are posted to, as JSON ``{"text": …}``.
WEBHOOK = "LWD_FAILURE_WEBHOOK"
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
    from lwd_core.lake.waiting import waiting

    found = waiting(platform.lake(), platform.settings.landing)
    fit, unfit = _fitting(found)
    for what in unfit:
        context.log.warning(f"{what}; ingest_rest takes it, in no partition")
    busy = _busy(context.instance)
    asked = [cell for cell in fit if cell.key not in busy][:CELLS_A_TICK]
    requests = [dg.RunRequest(job_name=ingest_day.name, partition_key=cell.key) for cell in asked]
    if unfit and not context.instance.get_runs(
        dg.RunsFilter(job_name=ingest_rest.name, statuses=_UNFINISHED)
    ):
        requests.append(dg.RunRequest(job_name=ingest_rest.name, tags={"logs": str(len(unfit))}))
    known = set(context.instance.get_dynamic_partitions(str(SITES.name)))
    new_sites = sorted({cell.site for cell in asked} - known)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[SITES.build_add_request(new_sites)] if new_sites else [],
        skip_reason=None if requests else f"nothing new; {len(fit)} partitions are being ingested",
    )


def _fitting(found: dict[tuple[str, str], list[str]]) -> tuple[list[Cell], list[str]]:
    """Cells that are partitions, oldest first, and complaints about those that can't be."""
    fit, unfit = [], []
    for (day, site), uris in sorted(found.items()):
        try:
            fit.append(partition(day, site))
        except UserError as error:
            unfit.append(f"{uris[0]!r} and {len(uris) - 1} more: {error}")
    return fit, unfit


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
    from lwd_core.policies.settle import standing

    found = standing(platform.lake(), platform.settings)
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
    import urllib.request

    address = os.environ.get(WEBHOOK)
    if not address:
        return
    run = context.dagster_run
    partition = run.tags.get("dagster/partition", "")
    text = f"{run.job_name} {partition} failed: {context.failure_event.message} (run {run.run_id})"
    request = urllib.request.Request(
        address, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


SENSORS = [landing_sensor, canary_sensor, failure_notice]
