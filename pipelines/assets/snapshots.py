"""Snapshot: what a round of learning sees, frozen."""

import dagster as dg

from lwd_core.errors import UserError
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, table_metadata
from storage_schemas.tables import SNAPSHOTS
from storage_schemas.vocabulary import Source, Stage

#: What each stage learns from: the online stage gets the offline snapshot beside its own.
SOURCES = {
    Stage.SFT: (Source.DEMONSTRATION,),
    Stage.OFFLINE: (Source.DEMONSTRATION, Source.ROLLOUT, Source.PLAY),
    Stage.ONLINE: (Source.ONLINE,),
}


def snapshot_of(platform: Platform, round_name: str) -> str:
    """Digest of the newest snapshot of a round. Raises UserError where there is none."""
    rows = (
        platform.lake()
        .read("snapshots", columns=["digest", "created_ns"], where="name = ?", params=(round_name,))
        .to_pylist()
    )
    if not rows:
        raise UserError(f"round {round_name}: has no snapshot yet; materialise its training_snapshot first")
    return max(rows, key=lambda row: row["created_ns"])["digest"]


def unseen_episodes(platform: Platform) -> int:
    """Episodes of the online stage that no snapshot has yet."""
    sources = [str(source) for source in SOURCES[Stage.ONLINE]]
    return (
        platform.lake()
        .sql(
            "SELECT count(*) AS n FROM episodes WHERE list_contains(?, source) "
            "AND episode_id NOT IN (SELECT episode_id FROM snapshot_members)",
            (sources,),
        )
        .to_pylist()[0]["n"]
    )


@dg.asset(
    deps=[
        # a snapshot asks the lake a question over all days and sites there are
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
        for name in ("rewards", "outcomes", "quality")
    ],
    group_name="snapshots",
    kinds={"webdataset", "safetensors"},
    owners=["team:learning"],
    metadata=table_metadata(SNAPSHOTS),
    partitions_def=ROUNDS,
    pool="lake",
)
def training_snapshot(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The round's training set: immutable, named by its digest, with norm statistics."""
    from lwd_core.snapshots.build import build_snapshot
    from lwd_core.snapshots.spec import SnapshotSpec
    from lwd_core.snapshots.unchanged import unchanged

    plan, lake = platform.plan, platform.lake()
    planned = plan.round(context.partition_key)
    spec = SnapshotSpec.parse(
        {
            "name": planned.name,
            "tasks": plan.tasks,
            "sources": SOURCES[planned.stage],
            "labels": {"reward": "reward.sparse@1", "outcome": "outcome.recorded@1"},
            **plan.snapshot,
        },
        where=f"profile {plan.name}, snapshot",
    )
    digest = unchanged(lake, spec)
    if digest is None:
        digest = build_snapshot(lake, spec, platform.settings.snapshots, now_ns=platform.now_ns()).digest
    row = lake.read("snapshots", where="digest = ?", params=(digest,)).to_pylist()[0]
    contents = lake.sql(
        "SELECT e.task, e.source, count(*) AS episodes, sum(e.steps)::BIGINT AS steps, "
        "avg((e.outcome = 'success')::INT) AS success, sum(e.human_steps) / sum(e.steps) AS human_share "
        "FROM snapshot_members m JOIN episodes e USING (episode_id) WHERE m.digest = ? "
        "GROUP BY ALL ORDER BY ALL",
        (digest,),
    ).to_pylist()
    context.log.info(f"snapshot {digest[:12]}: {row['episodes']} episodes, {row['steps']} steps")
    return dg.MaterializeResult(
        metadata={
            "digest": digest,
            "episodes": row["episodes"],
            "steps": row["steps"],
            "bytes": row["bytes"],
            "dagster/uri": row["uri"],
            "contents": markdown_table(contents),
        },
        data_version=dg.DataVersion(digest),
    )


@dg.asset_check(asset="training_snapshot", blocking=True)
def snapshot_verifies(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Every shard, camera frames among them, has the bytes and the samples its manifest promises."""
    from lwd_core.snapshots.verify import verify

    digest = snapshot_of(platform, context.partition_key)
    problems = verify(platform.settings.snapshots, digest, platform.lake().place)
    return dg.AssetCheckResult(
        passed=not problems, metadata={"digest": digest, "problems": dg.MetadataValue.json(list(problems))}
    )
