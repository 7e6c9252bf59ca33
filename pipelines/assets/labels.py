"""Label layers: what labellers say of the episodes; added, never edited."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.partitions import DAY_SITE, cells
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, table_metadata
from storage_schemas.tables import LABELS

if TYPE_CHECKING:
    from lwd_core.labels.labeller import Labeller


def _layer(name: str, description: str):
    return dg.asset(
        name=name,
        deps=["episodes", "steps", "segments"],
        group_name="labels",
        kinds={"deltalake"},
        owners=["team:learning"],
        description=description,
        metadata=table_metadata(LABELS),
        partitions_def=DAY_SITE,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="lake",
    )


def _run(
    context: dg.AssetExecutionContext, platform: Platform, labellers: Sequence["Labeller"]
) -> dg.MaterializeResult:
    from lwd_core.labels.labeller import run_labellers

    lake = platform.lake()
    wanted = cells(context.partition_keys)
    here = f"(day, site) IN ({', '.join('(?, ?)' for _ in wanted)})"
    params = tuple(value for cell in wanted for value in (cell.day, cell.site))
    runs = run_labellers(lake, labellers, now_ns=platform.now_ns(), where=here, params=params)
    layers = tuple(labeller.layer_id for labeller in labellers)
    marks = ", ".join("?" * len(layers))
    said = lake.sql(
        f'SELECT layer_id, "check", text, count(*) AS rows, avg(value) AS mean FROM labels '
        f"WHERE layer_id IN ({marks}) AND {here} GROUP BY ALL ORDER BY ALL",
        (*layers, *params),
    ).to_pylist()
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": sum(row["rows"] for row in said),
            "new episodes": sum(run.episodes for run in runs),
            "layers": markdown_table(said),
        }
    )


@_layer("rewards", "Sparse reward, derived from the outcome: 1 on the last step of a success.")
def rewards(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    from lwd_core.labels.reward import SparseReward

    return _run(context, platform, [SparseReward()])


@_layer("outcomes", "How each episode ended, and who says so.")
def outcomes(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    from lwd_core.labels.outcome import RecordedOutcome

    return _run(context, platform, [RecordedOutcome()])


@_layer("quality", "Defects and risks of each recording, one verdict a check.")
def quality(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    from lwd_core.labels.quality import Quality

    return _run(context, platform, [Quality(platform.embodiments())])
