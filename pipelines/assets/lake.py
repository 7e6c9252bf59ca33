"""Ingest: raw logs of a day and site become rows of the lake."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.automation import DAILY
from pipelines.partitions import DAY_SITE, cells, inside
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, picture, table_metadata
from pipelines.shown import rows_by_partition, show_partitions
from storage_schemas.tables import TABLES

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

INGESTED = ("logs", "episodes", "steps", "segments")


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            name,
            deps=["fleet_logs"],
            group_name="lake",
            kinds={"deltalake", "parquet"},
            owners=["team:platform"],
            description=TABLES[name].meaning,
            metadata=table_metadata(TABLES[name]),
            freshness_policy=DAILY,
        )
        for name in INGESTED
    ],
    partitions_def=DAY_SITE,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="lake",
)
def ingest(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.MaterializeResult]:
    """Take in whatever the landing zone holds of these days and sites; what is known changes nothing."""
    from lwd_core.ingest.commit import ingest as take_in

    lake, settings = platform.lake(), platform.settings
    wanted = cells(context.partition_keys)
    result = take_in(
        lake,
        settings,
        platform.landed(wanted),
        embodiments=platform.embodiments(),
        now_ns=platform.now_ns(),
    )
    context.log.info(
        f"{result.episodes} episodes from {result.accepted.files} logs; {result.known.files} known before, "
        f"{result.salvaged.files} salvaged, {result.quarantined.files} in quarantine"
    )
    for uri, trace in result.faults:
        context.log.error(f"{uri}: the reader failed, a fault of lwd; please report\n{trace}")
    refused = [f"{uri}: {why}" for uri, why in result.quarantine]
    for line in refused:
        context.log.warning(f"in quarantine: {line}")
    for name in INGESTED:
        shown = show_partitions(
            context, name, partial(rows_by_partition, lake, name), partial(_shown, lake, name)
        )
        table = {"dagster/uri": lake.path("tables", name), "version": lake.version(name)}
        if name == "logs":
            shown["quarantined"] = len(refused)
            if refused:
                shown["quarantined because"] = "; ".join(refused[:5])
        yield dg.MaterializeResult(asset_key=name, metadata={**table, **shown})


def _shown(lake: "Lake", name: str, partition_keys: Sequence[str]) -> dict[str, Any]:
    """What a person wants to see of a table in these partitions."""
    here, params = inside(partition_keys)
    shown: dict[str, Any] = {}
    if name == "logs":
        shown["received"] = markdown_table(
            lake.sql(
                "SELECT robot_id, state, count(*) AS logs, sum(bytes)::BIGINT AS bytes, "
                f"any_value(reason) AS reason FROM logs WHERE {here} GROUP BY ALL ORDER BY ALL",
                params,
            ).to_pylist()
        )
    if name == "episodes":
        from lwd_core.reports.findings import INTERVENTIONS

        shown["by task"] = markdown_table(
            lake.sql(
                "SELECT task, source, count(*) AS episodes, avg((outcome = 'success')::INT) AS success, "
                f"avg(steps) AS steps, {INTERVENTIONS} AS interventions "
                f"FROM episodes WHERE {here} GROUP BY ALL ORDER BY ALL",
                params,
            ).to_pylist()
        )
    if name == "steps":
        from lwd_core.reports.glimpses import sample_frames

        frames = sample_frames(lake, here, params)
        shown["frames"] = picture(frames, "sample frames") if frames else "no camera here"
    if name == "segments":
        from lwd_core.reports.figures import timeline

        episodes = lake.sql(
            f"SELECT episode_id, task, steps, outcome FROM episodes WHERE {here} "
            "ORDER BY task, start_ns LIMIT 40",
            params,
        ).to_pylist()
        segments = lake.sql(
            f"SELECT episode_id, kind, first_step, last_step FROM segments WHERE {here}", params
        ).to_pylist()
        shown["who acted"] = picture(timeline(episodes, segments), "intervention timeline")
    return shown
