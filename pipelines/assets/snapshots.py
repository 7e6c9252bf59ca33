"""Snapshot: what a round of learning sees, frozen."""

from typing import TYPE_CHECKING

import dagster as dg

from lwd_core import config_file
from lwd_core.errors import UserError
from pipelines.assets.installed import OTHER_KEYS
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.profile import Profile
from pipelines.schemas import markdown_table, table_metadata
from storage_schemas.tables import SNAPSHOTS
from storage_schemas.vocabulary import Source, Stage

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake
    from lwd_core.snapshots.spec import SnapshotSpec

#: What each stage learns from: the online stage gets the offline snapshot beside its own.
SOURCES = {
    Stage.SFT: (Source.DEMONSTRATION,),
    Stage.OFFLINE: (Source.DEMONSTRATION, Source.ROLLOUT, Source.PLAY),
    Stage.ONLINE: (Source.ONLINE,),
}
#: Layers a snapshot reads unless the profile names others. A recording with a defect says what did not
#: happen, so it stays out; a risk is something a robot did, and worth learning from.
LAYERS = {
    "reward": "reward.sparse@1",
    "outcome": "outcome.recorded@1",
    "blocking": ("quality@1:defect.*",),
}


def snapshot_spec(plan: Profile, round_name: str) -> "SnapshotSpec":
    """What a round asks of the lake: its stage's sources, the profile's settings over the layers above."""
    from lwd_core.snapshots.spec import SnapshotSpec

    planned = plan.round(round_name)
    asked: dict[str, object] = {
        "name": planned.name,
        "tasks": plan.tasks,
        "sources": SOURCES[planned.stage],
        "labels": LAYERS,
    }
    return SnapshotSpec.parse(config_file.over(asked, plan.snapshot), where=f"profile {plan.name}, snapshot")


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


def unseen_episodes(platform: Platform, round_name: str) -> int:
    """Episodes a round of that name would take and no snapshot has yet.

    Asked by the round's own spec: an episode that a filter or a defect keeps out would be new every night.
    """
    from lwd_core.snapshots.select import NoEpisodes, pin, selected

    lake, spec = platform.lake(), snapshot_spec(platform.plan, round_name)
    if lake.version("episodes") is None or lake.version("labels") is None:
        return 0
    try:
        wanted = {row["episode_id"] for row in selected(lake, spec, pin(lake, spec))}
    except NoEpisodes:
        return 0
    seen = lake.sql("SELECT DISTINCT episode_id FROM snapshot_members").column("episode_id").to_pylist()
    return len(wanted.difference(seen))


def left_out(lake: "Lake", spec: "SnapshotSpec") -> list[dict]:
    """Episodes of a spec's sources and tasks that a blocking check keeps out, by check."""
    rows: list[dict] = []
    for blocking in spec.labels.blocking:
        layer, _, check = blocking.partition(":")
        rows += lake.sql(
            'SELECT l."check", count(DISTINCT e.episode_id) AS episodes, min(l.detail) AS "for example" '
            "FROM labels l JOIN episodes e USING (episode_id) WHERE l.layer_id = ? AND l.text = 'fail' "
            "AND coalesce(l.\"check\", '') GLOB ? AND list_contains(?, e.source) "
            "AND (? OR list_contains(?, e.task)) GROUP BY ALL ORDER BY ALL",
            (layer, check or "*", list(map(str, spec.sources)), not spec.tasks, list(spec.tasks) or [""]),
        ).to_pylist()
    return rows


@dg.asset(
    deps=[
        # a snapshot asks the lake a question over all days and sites there are
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
        for name in ("rewards", "outcomes", "quality", "pictures", *OTHER_KEYS)
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
    from lwd_core.snapshots.reuse import reusable
    from lwd_core.storage.location import open_location

    lake, spec = platform.lake(), snapshot_spec(platform.plan, context.partition_key)
    digest = reusable(lake, spec)
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
            "dagster/uri": open_location(platform.settings.snapshots).path(digest),
            "contents": markdown_table(contents),
            "left out": markdown_table(left_out(lake, spec)),
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
