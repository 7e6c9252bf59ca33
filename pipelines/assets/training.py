"""Training, through Dagster Pipes, and the policy taken from its checkpoint."""

import os
import sys

import dagster as dg

from pipelines.assets.snapshots import snapshot_of
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.schemas import table_metadata
from storage_schemas.tables import POLICIES
from storage_schemas.vocabulary import Stage


@dg.asset(
    deps=["training_snapshot"],
    group_name="training",
    kinds={"pytorch"},
    owners=["team:learning"],
    partitions_def=ROUNDS,
    pool="training",
    retry_policy=dg.RetryPolicy(max_retries=1),
)
def checkpoint(
    context: dg.AssetExecutionContext, platform: Platform, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Trainer state after the round: resumed where a killed run left it."""
    return pipes.run(
        context=context,
        command=[sys.executable, "-m", "pipelines.training_process"],
        env=dict(os.environ),
        extras={"config": training_config(platform, context.partition_key)},
    ).get_materialize_result()


def training_config(platform: Platform, round_name: str) -> dict[str, object]:
    """The round's training configuration as plain values: the profile's, with the round's over it."""
    plan = platform.plan
    planned = plan.round(round_name)
    own = snapshot_of(platform, round_name)
    offline = own
    names = [r.name for r in plan.rounds]
    before = plan.rounds[: names.index(round_name)] if round_name in names else plan.rounds
    if planned.stage is Stage.ONLINE:
        offline = snapshot_of(platform, next(r.name for r in reversed(before) if r.stage is Stage.OFFLINE))
    return {
        **plan.training,
        **planned.training,
        "run": round_name,
        "stage": str(planned.stage),
        "offline": offline,
        "online": own if planned.stage is Stage.ONLINE else None,
        "init": before[-1].name if before else None,
        "seed": plan.seed,
    }


@dg.asset(
    deps=["checkpoint"],
    group_name="training",
    kinds={"safetensors"},
    owners=["team:learning"],
    metadata=table_metadata(POLICIES),
    partitions_def=ROUNDS,
)
def policy(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The deployable part of the checkpoint: weights, normaliser, lineage, signed."""
    return dg.MaterializeResult()
