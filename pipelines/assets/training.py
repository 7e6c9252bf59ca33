"""Training, through Dagster Pipes, and the policy taken from its checkpoint."""

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError  # raised by the public client, exported nowhere

from lwd_core import config_file
from lwd_core.errors import UserError
from pipelines.assets.labels import run
from pipelines.assets.snapshots import snapshot_of
from pipelines.automation import WEEKLY
from pipelines.launch import Launcher
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, page, picture, table_metadata
from storage_schemas.tables import LABELS, POLICIES
from storage_schemas.vocabulary import Channel, Stage


@dg.asset(
    deps=[
        "training_snapshot",
        # a policy that sees by a pretrained backbone learns from what that made of the frames
        dg.AssetDep("features", partition_mapping=dg.AllPartitionMapping()),
    ],
    group_name="training",
    kinds={"pytorch"},
    owners=["team:learning"],
    partitions_def=ROUNDS,
    pool="training",
)
def checkpoint(
    context: dg.AssetExecutionContext, platform: Platform, launcher: Launcher
) -> dg.MaterializeResult:
    """Trainer state after the round: resumed where a killed run left it."""
    from lwd_core.cli.main import EXIT_USER_ERROR
    from lwd_core.reports.findings import read_metrics
    from lwd_core.reports.glimpses import training_curves

    try:
        result = launcher.run(context, {"config": training_config(platform, context.partition_key)})
    except DagsterPipesExecutionError as error:
        if str(error).endswith(f"code {EXIT_USER_ERROR}"):
            # its own line stands above; trying again would not mend the input
            refused = f"training of {context.partition_key} refused its input"
            raise dg.Failure(refused, allow_retries=False) from error
        raise
    curves = read_metrics(f"{platform.settings.checkpoints}/{context.partition_key}/metrics.jsonl")
    shown = {"curves": picture(training_curves(curves), "losses and loader wait")}
    return result._replace(metadata={**(result.metadata or {}), **shown})


def training_config(platform: Platform, round_name: str) -> dict[str, object]:
    """The round's training configuration as plain values: the profile's, with the round's over it."""
    plan = platform.plan
    planned = plan.round(round_name)
    own = snapshot_of(platform, round_name)
    offline = own
    names = [r.name for r in plan.rounds]
    if plan.plans(round_name):
        before = plan.rounds[: names.index(round_name)]
        init = before[-1].name if before else None
    else:
        before = plan.rounds
        init = production_run(platform)
    if planned.stage is Stage.ONLINE:
        offline = snapshot_of(platform, next(r.name for r in reversed(before) if r.stage is Stage.OFFLINE))
    return {
        **config_file.over(plan.training, planned.training),
        "run": round_name,
        "stage": str(planned.stage),
        "offline": offline,
        "online": own if planned.stage is Stage.ONLINE else None,
        "init": init,
        "seed": plan.seed,
    }


def production_run(platform: Platform) -> str:
    """The run whose policy the fleet runs now: where a round nobody planned goes on. Raises UserError."""
    from lwd_core.policies.release import recorded

    lake = platform.lake()
    release = recorded(lake, Channel.PRODUCTION)
    if release is None:
        raise UserError("channel production: empty; there is no policy to go on from")
    rows = lake.sql("SELECT config->>'run' AS run FROM policies WHERE policy_id = ?", (release.policy_id,))
    return rows.to_pylist()[0]["run"]


@dg.asset(
    deps=["checkpoint"],
    group_name="training",
    kinds={"safetensors"},
    owners=["team:learning"],
    metadata=table_metadata(POLICIES),
    partitions_def=ROUNDS,
    freshness_policy=WEEKLY,
)
def policy(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The deployable part of the checkpoint: weights, normaliser, lineage, signed."""
    from lwd_core.lineage import Trace, trace
    from lwd_core.policies.keys import signing_key
    from lwd_core.policies.registry import register
    from lwd_core.reports.lineage import write_trace_page
    from lwd_core.training.export import export_policy, parent_of
    from lwd_core.training.run import find_checkpoint

    lake, settings = platform.lake(), platform.settings
    trained = find_checkpoint(settings.checkpoints, context.partition_key)
    bundle = export_policy(
        trained,
        settings.policies,
        signing_key(settings.keys),
        parent=parent_of(lake, trained),
    )
    register(lake, bundle, now_ns=platform.now_ns())
    lineage = bundle.manifest.lineage

    def write() -> tuple[Trace, str]:
        made_of = trace(lake, bundle.policy_id)
        return made_of, write_trace_page(f"{settings.reports}/lineage", made_of)

    made_of, written = lake.tombstones.steady(write)
    context.log.info(f"policy {bundle.policy_id}")
    return dg.MaterializeResult(
        metadata={
            "policy": bundle.policy_id,
            "dagster/uri": bundle.uri,
            "parent": lineage.parent or "none",
            "checkpoint": lineage.checkpoint,
            "snapshots": dg.MetadataValue.json(list(lineage.snapshots)),
            "ancestry": markdown_table(made_of.ancestry.to_pylist()),
            "made of": markdown_table(
                [
                    # the full ids stand above and on the page; a row of them is wider than a screen
                    {"snapshot": row["name"], "digest": row["digest"][:12], "policy": row["policy_id"][:12]}
                    | {"episodes": row["episodes"], "state": row["state"]}
                    for row in made_of.snapshots.to_pylist()
                ]
            ),
            "episodes": made_of.episodes.num_rows,
            "lineage page": page(settings.reports, written),
            "instructions": dg.MetadataValue.json(list(bundle.manifest.instructions)),
        },
        data_version=dg.DataVersion(bundle.policy_id),
    )


@dg.asset_check(asset="policy")
def critic_is_any_good(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """On episodes it did not learn from, and by the run's own figures (docs/assess.md): a warning.

    What was found lies beside the checkpoint, where the report takes it from.
    """
    from lwd_core.assessment.assess import assess
    from lwd_core.assessment.figures import all_figures
    from lwd_core.assessment.page import save
    from lwd_core.training.run import find_checkpoint

    found = assess(find_checkpoint(platform.settings.checkpoints, context.partition_key), platform.settings)
    save(found, now_ns=platform.now_ns())
    return dg.AssetCheckResult(
        passed=not found.bad,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "findings": markdown_table([vars(finding) for finding in found.findings]),
            "notes": dg.MetadataValue.json(list(found.notes)),
            **{said: picture(image, said) for said, image in all_figures(found).items()},
        },
    )


@dg.asset(
    deps=["checkpoint"],
    group_name="training",
    kinds={"deltalake", "pytorch"},
    owners=["team:learning"],
    metadata=table_metadata(LABELS),
    partitions_def=ROUNDS,
    pool="lake",
)
def values(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """What the round's critic expects along the episodes of its fleet day, a label layer of its own."""
    from lwd_core.reports.figures import value_curves
    from lwd_core.reports.findings import value_layer
    from lwd_core.training.run import find_checkpoint
    from lwd_core.training.values import has_critic, learned_value

    lake, name = platform.lake(), context.partition_key
    checkpoint = find_checkpoint(platform.settings.checkpoints, name)
    if not has_critic(checkpoint):
        return dg.MaterializeResult(metadata={"dagster/partition_row_count": 0, "critic": "none in SFT"})
    labeller = learned_value(checkpoint, lake.place)
    done = run(context, platform, labeller, "day = ?", (platform.plan.day(name),))
    return dg.MaterializeResult(
        metadata={
            "layer": labeller.layer_id,
            "dagster/partition_row_count": done.rows,
            "failed episodes": len(done.failed),
            "curves": picture(value_curves(value_layer(lake, labeller.layer_id)), "value along episodes"),
        }
    )
