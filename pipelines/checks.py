"""Checks of what was materialised: one factory for the tables, one check for what arrived.

They block: what stands downstream in the same run does not start on data that fails.
"""

import dagster as dg

from pipelines.assets.lake import INGESTED
from pipelines.partitions import cells
from pipelines.platform import Platform
from pipelines.schemas import markdown_table
from storage_schemas.columns import Table
from storage_schemas.tables import TABLES


def _here(context: dg.AssetCheckExecutionContext) -> tuple[str, tuple[str, ...]]:
    """SQL condition and values for the partitions the check runs on."""
    wanted = cells(context.partition_keys) if context.has_partition_key or _ranged(context) else []
    if not wanted:
        return "true", ()
    return (
        f"(day, site) IN ({', '.join('(?, ?)' for _ in wanted)})",
        tuple(value for cell in wanted for value in (cell.day, cell.site)),
    )


def _ranged(context: dg.AssetCheckExecutionContext) -> bool:
    return "dagster/asset_partition_range_start" in context.run.tags


def schema_check(table: Table) -> dg.AssetChecksDefinition:
    """The stored files have the columns the schema describes, and no others."""

    @dg.asset_check(
        asset=table.name, name=f"{table.name}_schema", blocking=True, description=schema_check.__doc__
    )
    def check(platform: Platform) -> dg.AssetCheckResult:
        # a read casts to the schema and refuses nulls where none may be
        stored = platform.lake().sql(f"SELECT * FROM {table.name} LIMIT 0").schema.names
        missing, unknown = set(table.names) - set(stored), set(stored) - set(table.names)
        return dg.AssetCheckResult(
            passed=not missing and not unknown,
            metadata={"missing": sorted(missing), "unknown": sorted(unknown)},
        )

    return check


def key_check(table: Table) -> dg.AssetChecksDefinition:
    """No two rows have the same key."""

    @dg.asset_check(asset=table.name, name=f"{table.name}_key", blocking=True, description=key_check.__doc__)
    def check(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
        here, params = _here(context)
        key = ", ".join(f'"{name}"' for name in table.key)
        twice = (
            platform.lake()
            .sql(
                f"SELECT {key}, count(*) AS rows FROM {table.name} WHERE {here} "
                f"GROUP BY {key} HAVING count(*) > 1 LIMIT 20",
                params,
            )
            .to_pylist()
        )
        return dg.AssetCheckResult(passed=not twice, metadata={"rows with one key": markdown_table(twice)})

    return check


@dg.asset_check(asset="logs", blocking=True)
def reconciliation(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Every file in the landing zone has a row: received = accepted + duplicate + salvaged + quarantined."""
    from lwd_core.lake.received import receive

    folders = platform.landed(cells(context.partition_keys))
    received = {log.uri for log in receive(folders, platform.settings.landing)}
    here, params = _here(context)
    rows = platform.lake().sql(f"SELECT uri, state, bytes FROM logs WHERE {here}", params).to_pylist()
    lost = sorted(received - {row["uri"] for row in rows})
    return dg.AssetCheckResult(
        passed=not lost,
        metadata={
            "received": len(received),
            "accounted for": len(rows),
            "lost": dg.MetadataValue.json(lost[:20]),
        },
    )


@dg.asset_check(asset="logs")
def quarantine(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """No log is in quarantine. A warning: one bad file stops nobody, but somebody should look."""
    here, params = _here(context)
    rows = (
        platform.lake()
        .sql(f"SELECT robot_id, uri, reason FROM logs WHERE state = 'quarantined' AND {here}", params)
        .to_pylist()
    )
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"in quarantine": len(rows), "logs": markdown_table(rows[:20])},
    )


@dg.asset_check(asset="episodes", blocking=True)
def whole_episodes(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """An episode is visible whole: it has its steps, and segments that cover them."""
    here, params = _here(context)
    broken = (
        platform.lake()
        .sql(
            "WITH s AS (SELECT episode_id, count(*) FILTER (len(action) > 0) AS steps FROM steps "
            f"WHERE {here} GROUP BY episode_id), g AS (SELECT episode_id, "
            f"sum(last_step - first_step + 1) AS covered FROM segments WHERE {here} GROUP BY episode_id) "
            "SELECT e.episode_id, e.steps AS promised, s.steps AS stored, g.covered FROM episodes e "
            f"LEFT JOIN s USING (episode_id) LEFT JOIN g USING (episode_id) WHERE {here} "
            "AND (s.steps IS DISTINCT FROM e.steps OR coalesce(g.covered, 0) < e.steps) LIMIT 20",
            (*params, *params, *params),
        )
        .to_pylist()
    )
    return dg.AssetCheckResult(passed=not broken, metadata={"broken": markdown_table(broken)})


TABLE_CHECKS = [factory(TABLES[name]) for name in INGESTED for factory in (schema_check, key_check)]
CHECKS = [*TABLE_CHECKS, reconciliation, quarantine, whole_episodes]
