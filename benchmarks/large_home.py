"""A home as large as one machine should carry, made without its robots, and what is asked of it.

100,000 episodes in 1,000 partitions of the lake; the same partitions of every table, and as many runs, in
Dagster's records.
"""

from datetime import date, timedelta
from pathlib import Path

DAYS, SITES, EPISODES, STEPS = 100, 10, 100_000, 10
FIRST = date(2026, 1, 1)


def partitions() -> list[str]:
    """The keys of the large lake: every day at every site."""
    days = [str(FIRST + timedelta(days=d)) for d in range(DAYS)]
    return [f"{day}|lab{site}" for day in days for site in range(SITES)]


def fill(home: Path) -> None:
    """A home whose lake has 100,000 episodes, and whose tables were materialised in 1,000 partitions."""
    import dagster as dg

    from benchmarks.lake import made
    from lwd_core.lake.store import Lake
    from pipelines.home import enter
    from pipelines.jobs import DATA
    from pipelines.partitions import SITES as SITE

    enter(str(home))
    lake = Lake.open(str(home / "lake"), create=True)
    for name, rows in made(EPISODES, STEPS, DAYS, SITES).items():
        lake.append(name, rows)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(str(SITE.name), [f"lab{site}" for site in range(SITES)])
        for name in DATA:
            for key in partitions():
                metadata = {"dagster/partition_row_count": EPISODES // (DAYS * SITES)}
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(name, partition=key, metadata=metadata)
                )
        for key in partitions():
            tags = {"dagster/partition": key}
            run = dg.DagsterRun(job_name="ingest_day", status=dg.DagsterRunStatus.SUCCESS, tags=tags)
            instance.add_run(run)


QUERIES = {
    "success by task": "SELECT task, count(*), avg((outcome = 'success')::INT) FROM episodes GROUP BY task",
    "episodes of a robot, by day": "SELECT day, count(*) FROM episodes WHERE robot_id = 'r7' GROUP BY day",
    "steps of one episode": "SELECT * FROM steps WHERE day = '2026-02-01' AND site = 'lab3' "
    "AND episode_id = (SELECT min(episode_id) FROM episodes WHERE day = '2026-02-01' AND site = 'lab3')",
    "mean action over all steps": "SELECT site, avg(action[1]) FROM steps GROUP BY site",
    "what waits for the next night": "SELECT count(*) FROM episodes WHERE source = 'online' "
    "AND episode_id NOT IN (SELECT episode_id FROM snapshot_members)",
}
#: What the pages ask, cut down to the parts that grow with partitions.
PAGES = {
    "graph": (
        "{assetNodes {assetKey {path} partitionStats {numMaterialized numPartitions numFailed} "
        "assetMaterializations(limit: 1) {timestamp}}}"
    ),
    "asset and its partitions": (
        '{assetNodeOrError(assetKey: {path: ["episodes"]}) {... on AssetNode {assetPartitionStatuses '
        "{... on MultiPartitionStatuses {primaryDimensionName ranges {primaryDimStartKey primaryDimEndKey}}} "
        "partitionKeysByDimension {name partitionKeys}}}}"
    ),
    "asset and its last 100 events": (
        '{assetOrError(assetKey: {path: ["episodes"]}) {... on Asset {assetMaterializations(limit: 100) '
        "{timestamp partition metadataEntries {label}}}}}"
    ),
    "runs": "{runsOrError(limit: 30) {... on Runs {results {id status}}}}",
}
