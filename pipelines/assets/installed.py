"""An asset for every check and label that another package has installed, each with a check of its own.

One that is broken is an asset that says so and fails alone.
"""

import re

import dagster as dg

from lwd_core.labels.labeller import Labeller
from lwd_core.labels.registry import Broken, installed, layer_name
from pipelines.assets.labels import failed_checks, layer_asset
from pipelines.partitions import DAY_SITE, inside
from pipelines.platform import Platform
from pipelines.schemas import markdown_table
from storage_schemas.vocabulary import LabelKind

#: What a name that is none may hold, and an asset's not; such a label is broken, and all else is there.
_ODD = re.compile(r"[^A-Za-z0-9_]")


def layer_key(name: str) -> dg.AssetKey:
    """The asset of another package's layer, apart from the platform's: labels/acme/spill of acme.spill."""
    return dg.AssetKey(["labels", *(_ODD.sub(_spelt, part) or "_" for part in name.split("."))])


def _spelt(odd: re.Match[str]) -> str:
    return f"_{ord(odd[0]):x}_"


def others() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """An asset for each check and label of other packages, each with a check; the broken ones fail alone."""
    assets, checks = [], []
    for one in installed():
        if isinstance(one, Broken):
            assets.append(_broken(one))
            continue
        key = layer_key(layer_name(one.layer_id))
        version = one.layer_id.partition("@")[2]
        assets.append(layer_asset(key, one.description or one.layer_id, lambda one=one: one, version=version))
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
        failed = failed_checks(platform, context.partition_keys, labeller.layer_id)
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
