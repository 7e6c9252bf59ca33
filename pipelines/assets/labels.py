"""Label layers: what labellers say of the episodes; added, never edited.

The platform's own, and an asset for every check and label that another package has installed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from lwd_core.labels.labeller import Labeller, LayerRun
from lwd_core.labels.registry import CHECKS as CHECK_DOOR
from lwd_core.labels.registry import LABELS as LABEL_DOOR
from lwd_core.labels.registry import Broken, installed, layer_name
from pipelines.automation import DAILY, FOLLOWS_TABLES
from pipelines.partitions import DAY_SITE, inside
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, picture, table_metadata
from pipelines.shown import rows_by_partition, show_partitions
from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import LabelKind

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
    return done


def _asset(
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
rewards = _asset(
    dg.AssetKey("rewards"),
    "Sparse reward, derived from the outcome: 1 on the last step of a success.",
    lambda: LABEL_DOOR.get("reward.sparse"),
    _curves,
)
outcomes = _asset(
    dg.AssetKey("outcomes"),
    "How each episode ended, and who says so.",
    lambda: LABEL_DOOR.get("outcome.recorded"),
)
quality = _asset(
    dg.AssetKey("quality"),
    "Defects and risks of each recording, one verdict a check.",
    lambda: CHECK_DOOR.get("quality"),
)


@dg.asset_check(asset="quality", blocking=True)
def recordings_are_sound(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """At most half of the episodes of these days and sites have a defect.

    A few bad recordings are left out of snapshots one by one; where most are bad, a robot or its
    embodiment file is wrong, and a person must look before anything is trained on that day.
    """
    rows = _failed(platform, context.partition_keys, "quality@1", "defect.*")
    return dg.AssetCheckResult(
        passed=all(row["failed"] <= DEFECTIVE_SHARE * row["episodes"] for row in rows),
        metadata={"defects": markdown_table(rows)},
    )


def _failed(platform: Platform, keys: Sequence[str], layer_id: str, checks: str = "*") -> list[dict]:
    """How many episodes of some partitions fail each check of a layer, and of how many; the worst first."""
    here, params = inside(keys)
    rows = platform.lake().sql(
        "SELECT \"check\", count(DISTINCT episode_id) FILTER (text = 'fail') AS failed, "
        "count(DISTINCT episode_id) AS episodes FROM labels WHERE layer_id = ? "
        f'AND "check" GLOB ? AND {here} GROUP BY ALL ORDER BY failed DESC, "check"',
        (layer_id, checks, *params),
    )
    return rows.to_pylist()


# what other packages have installed


def layer_key(name: str) -> dg.AssetKey:
    """The asset of another package's layer, apart from the platform's: labels/acme/spill of acme.spill."""
    return dg.AssetKey(["labels", *name.split(".")])


def others() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """An asset for each check and label of other packages, each with a check; the broken ones fail alone."""
    assets, checks = [], []
    for one in installed():
        if isinstance(one, Broken):
            assets.append(_broken(one))
            continue
        key = layer_key(layer_name(one.layer_id))
        version = one.layer_id.partition("@")[2]
        assets.append(_asset(key, one.description or one.layer_id, lambda one=one: one, version=version))
        checks.append(_check(key, one))
    return assets, checks


def _broken(one: Broken) -> dg.AssetsDefinition:
    @dg.asset(
        key=layer_key(one.name),
        group_name="labels",
        kinds={"broken"},
        owners=["team:learning"],
        description=f"Broken: {one.reason}",
        partitions_def=DAY_SITE,
    )
    def broken() -> None:
        raise dg.Failure(one.reason, allow_retries=False)

    return broken


def _check(key: dg.AssetKey, labeller: Labeller) -> dg.AssetChecksDefinition:
    """Every episode has the label, and none fails where it is a check: a warning, which stops nobody."""

    @dg.asset_check(
        asset=key,
        name="every_episode_passes" if labeller.kind is LabelKind.QUALITY else "every_episode_is_labelled",
        description=labeller.description or labeller.layer_id,
    )
    def passes(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
        here, params = inside(context.partition_keys)
        unlabelled = platform.lake().sql(
            f"SELECT episode_id FROM episodes WHERE {here} AND episode_id NOT IN "
            "(SELECT episode_id FROM labels WHERE layer_id = ?) ORDER BY episode_id LIMIT 20",
            (*params, labeller.layer_id),
        )
        failed = _failed(platform, context.partition_keys, labeller.layer_id)
        return dg.AssetCheckResult(
            passed=not unlabelled.num_rows and not any(row["failed"] for row in failed),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "without a label": markdown_table(unlabelled.to_pylist()),
                "verdicts": markdown_table(failed),
            },
        )

    return passes


OTHERS, OTHER_CHECKS = others()
#: What follows the tables of a day, besides the platform's own layers.
OTHER_KEYS = [spec.asset_key for check in OTHER_CHECKS for spec in check.check_specs]
