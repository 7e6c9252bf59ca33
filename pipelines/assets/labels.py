"""Label layers: what labellers say of the episodes; added, never edited."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.automation import DAILY, FOLLOWS_TABLES
from pipelines.partitions import DAY_SITE, inside
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, picture, table_metadata
from pipelines.shown import rows_by_partition, show_partitions
from storage_schemas.tables import LABELS

if TYPE_CHECKING:
    from lwd_core.labels.labeller import Labeller

#: More episodes of a day and site than this with the same defect stop what follows.
DEFECTIVE_SHARE = 0.5


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
        automation_condition=FOLLOWS_TABLES,
        freshness_policy=DAILY,
    )


def _run(
    context: dg.AssetExecutionContext,
    platform: Platform,
    labellers: Sequence["Labeller"],
    draw: Callable[[Sequence[str]], dict[str, Any]] = lambda _: {},
) -> dg.MaterializeResult:
    """Run labellers over the run's partitions; ``draw`` adds figures to what is shown of some of them."""
    from lwd_core.labels.labeller import run_labellers

    lake = platform.lake()
    here, params = inside(context.partition_keys)
    runs = run_labellers(lake, labellers, now_ns=platform.now_ns(), where=here, params=params)
    layers = tuple(labeller.layer_id for labeller in labellers)
    ours = f"layer_id IN ({', '.join('?' * len(layers))})"

    def look(keys: Sequence[str]) -> dict[str, Any]:
        here, params = inside(keys)
        said = lake.sql(
            f'SELECT layer_id, "check", text, count(*) AS rows, avg(value) AS mean FROM labels '
            f"WHERE {ours} AND {here} GROUP BY ALL ORDER BY ALL",
            (*layers, *params),
        ).to_pylist()
        return {"layers": markdown_table(said), **draw(keys)}

    shown = show_partitions(
        context,
        context.asset_key.to_user_string(),
        lambda keys: rows_by_partition(lake, "labels", keys, ours, layers),
        look,
    )
    return dg.MaterializeResult(metadata={"new episodes": sum(run.episodes for run in runs), **shown})


@_layer("rewards", "Sparse reward, derived from the outcome: 1 on the last step of a success.")
def rewards(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    from lwd_core.labels.reward import SparseReward
    from lwd_core.reports.glimpses import label_curves

    labeller = SparseReward()

    def draw(keys: Sequence[str]) -> dict[str, Any]:
        curves = label_curves(platform.lake(), labeller.layer_id, *inside(keys))
        return {"curves": picture(curves, "reward along episodes")}

    return _run(context, platform, [labeller], draw)


@_layer("outcomes", "How each episode ended, and who says so.")
def outcomes(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    from lwd_core.labels.outcome import RecordedOutcome

    return _run(context, platform, [RecordedOutcome()])


@_layer("quality", "Defects and risks of each recording, one verdict a check.")
def quality(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    from lwd_core.labels.quality import Quality

    return _run(context, platform, [Quality(platform.embodiments())])


@dg.asset_check(asset="quality", blocking=True)
def recordings_are_sound(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """At most half of the episodes of these days and sites have a defect.

    A few bad recordings are left out of snapshots one by one; where most are bad, a robot or its
    embodiment file is wrong, and a person must look before anything is trained on that day.
    """
    here, params = inside(context.partition_keys)
    rows = (
        platform.lake()
        .sql(
            "SELECT \"check\", count(DISTINCT episode_id) FILTER (text = 'fail') AS failed, "
            "count(DISTINCT episode_id) AS episodes FROM labels WHERE layer_id = 'quality@1' "
            f'AND starts_with("check", \'defect.\') AND {here} GROUP BY ALL ORDER BY failed DESC, "check"',
            params,
        )
        .to_pylist()
    )
    return dg.AssetCheckResult(
        passed=all(row["failed"] <= DEFECTIVE_SHARE * row["episodes"] for row in rows),
        metadata={"defects": markdown_table(rows)},
    )
