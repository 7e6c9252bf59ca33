"""Label layers: what labellers say of the episodes; added, never edited."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from lwd_core.labels.labeller import Labeller, LayerRun
from lwd_core.labels.registry import CHECKS as CHECK_DOOR
from lwd_core.labels.registry import LABELS as LABEL_DOOR
from pipelines.automation import DAILY, FOLLOWS_TABLES
from pipelines.partitions import DAY_SITE, inside
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, picture, table_metadata
from pipelines.shown import rows_by_partition, show_partitions
from storage_schemas.tables import LABELS

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

#: More episodes of a day and site than this with the same defect stop what follows.
DEFECTIVE_SHARE = 0.5

Draw = Callable[["Lake", Sequence[str]], dict[str, Any]]


def run(
    context: dg.AssetExecutionContext, platform: Platform, labeller: Labeller, where: str, params: tuple
) -> LayerRun:
    """Label what is not labelled yet, as `lwd label run` does; what fails is logged."""
    from lwd_core.labels.labeller import run_labellers

    (done,) = run_labellers(
        platform.lake(), [labeller], now_ns=platform.now_ns(), where=where, params=params,
        embodiments=platform.embodiments(),
    )  # fmt: skip
    for reason in done.reasons():
        context.log.error(f"{done.layer_id}: {reason}")
    if done.failed and not done.episodes:
        raise dg.Failure(f"{done.layer_id}: no episode could be labelled; {done.reasons()[0]}")
    return done


def layer_asset(
    key: dg.AssetKey,
    description: str,
    load: Callable[[], Labeller],
    draw: Draw = lambda _lake, _keys: {},
    version: str | None = None,
) -> dg.AssetsDefinition:
    """The asset of one layer; ``draw`` adds figures to what is shown of some of its partitions."""

    @dg.asset(
        key=key,
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
        code_version=version,
    )
    def layer(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        lake, labeller = platform.lake(), load()
        done = run(context, platform, labeller, *inside(context.partition_keys))

        def look(keys: Sequence[str]) -> dict[str, Any]:
            here, params = inside(keys)
            said = lake.sql(
                f'SELECT layer_id, "check", text, count(*) AS rows, avg(value) AS mean FROM labels '
                f"WHERE layer_id = ? AND {here} GROUP BY ALL ORDER BY ALL",
                (labeller.layer_id, *params),
            ).to_pylist()
            return {"layers": markdown_table(said), **draw(lake, keys)}

        ours = ("layer_id = ?", (labeller.layer_id,))
        shown = show_partitions(
            context,
            key,
            lambda keys: rows_by_partition(lake, "labels", keys, *ours),
            look,
        )
        return dg.MaterializeResult(
            metadata={"new episodes": done.episodes, "failed episodes": len(done.failed), **shown}
        )

    return layer


def _curves(lake: "Lake", keys: Sequence[str]) -> dict[str, Any]:
    from lwd_core.reports.glimpses import label_curves

    curves = label_curves(lake, "reward.sparse@1", *inside(keys))
    return {"curves": picture(curves, "reward along episodes")}


# The platform's own load without their libraries, so they are described here.
rewards = layer_asset(
    dg.AssetKey("rewards"),
    "Sparse reward, derived from the outcome: 1 on the last step of a success.",
    lambda: LABEL_DOOR.get("reward.sparse"),
    _curves,
)
outcomes = layer_asset(
    dg.AssetKey("outcomes"),
    "How each episode ended, and who says so.",
    lambda: LABEL_DOOR.get("outcome.recorded"),
)
quality = layer_asset(
    dg.AssetKey("quality"),
    "Defects and risks of each recording, one verdict a check.",
    lambda: CHECK_DOOR.get("quality"),
)
pictures = layer_asset(
    dg.AssetKey("pictures"),
    "Black, frozen, over-exposed, blurred or damaged pictures of each camera.",
    lambda: CHECK_DOOR.get("pictures"),
)


@dg.asset_check(asset="quality", blocking=True)
def recordings_are_sound(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """At most half of the episodes of these days and sites have a defect.

    A few bad recordings are left out of snapshots one by one; where most are bad, a robot or its
    embodiment file is wrong, and a person must look before anything is trained on that day.
    """
    rows = failed_checks(platform, context.partition_keys, "quality@1", "defect.*")
    return dg.AssetCheckResult(
        passed=all(row["failed"] <= DEFECTIVE_SHARE * row["episodes"] for row in rows),
        metadata={"defects": markdown_table(rows)},
    )


@dg.asset_check(asset="quality")
def no_recording_has_a_defect(
    context: dg.AssetCheckExecutionContext, platform: Platform
) -> dg.AssetCheckResult:
    """No episode of these days and sites has a defect; a warning, since snapshots leave it out."""
    rows = failed_checks(platform, context.partition_keys, "quality@1", "defect.*")
    failed = [row for row in rows if row["failed"]]
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"episodes with one, at most": sum(row["failed"] for row in failed),
                  "defects": markdown_table(failed)},
    )  # fmt: skip


@dg.asset_check(asset="outcomes")
def judges_agree(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """People, and the robots' own word where they spoke, say one thing of each outcome; else a warning."""
    here, params = inside(context.partition_keys)
    rows = (
        platform.lake()
        .sql(
            "WITH said AS (SELECT episode_id, said_by AS who, text FROM labels WHERE kind = 'outcome' "
            f"AND said_by IS NOT NULL AND replaced_ns IS NULL AND {here}), "
            "whole AS (FROM said UNION ALL SELECT episode_id, outcome_from, outcome FROM episodes "
            "WHERE outcome <> 'unknown' AND episode_id IN (SELECT episode_id FROM said)) "
            "SELECT episode_id, string_agg(who || ': ' || text, ', ' ORDER BY who, text) AS said FROM whole "
            "GROUP BY episode_id HAVING count(DISTINCT text) > 1 ORDER BY episode_id",
            params,
        )
        .to_pylist()
    )
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"episodes": len(rows), "who says what": markdown_table(rows[:20])},
    )


def failed_checks(
    platform: Platform, keys: Sequence[str], layer_id: str, checks: str = "*"
) -> list[dict[str, Any]]:
    """How many episodes of some partitions fail each check of a layer, and of how many; the worst first."""
    here, params = inside(keys)
    rows = platform.lake().sql(
        "SELECT \"check\", count(DISTINCT episode_id) FILTER (text = 'fail') AS failed, "
        "count(DISTINCT episode_id) AS episodes FROM labels WHERE layer_id = ? "
        f'AND "check" GLOB ? AND {here} GROUP BY ALL ORDER BY failed DESC, "check"',
        (layer_id, checks, *params),
    )
    return rows.to_pylist()
