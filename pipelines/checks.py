"""Checks of what was taken in. They block: nothing downstream in the same run starts on data that fails.

One step for all tables, because a step and a connection each cost more than a check does.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg

from pipelines.assets.lake import INGESTED
from pipelines.partitions import cells, inside
from pipelines.platform import Platform
from pipelines.schemas import markdown_table
from storage_schemas.tables import TABLES

SCHEMA, KEY, FILES = "schema", "key", "files"
SPECS = [
    *(
        dg.AssetCheckSpec(
            FILES, asset=name, blocking=True, description="Data files are there, as large as the log says."
        )
        for name in INGESTED
    ),
    *(
        dg.AssetCheckSpec(
            SCHEMA, asset=name, blocking=True, description="Stored columns are those described."
        )
        for name in INGESTED
    ),
    *(
        dg.AssetCheckSpec(KEY, asset=name, blocking=True, description="No two rows have the same key.")
        for name in INGESTED
    ),
    dg.AssetCheckSpec(
        "reconciliation",
        asset="logs",
        blocking=True,
        description="Every file that lies in the landing zone is accounted for by a row, with all its bytes.",
    ),
    dg.AssetCheckSpec(
        "whole",
        asset="episodes",
        blocking=True,
        description="An episode has all its steps, and segments that cover them.",
    ),
    # a warning: one bad file stops nobody, but somebody should look
    dg.AssetCheckSpec("quarantine", asset="logs", description="No log is in quarantine."),
    dg.AssetCheckSpec("salvage", asset="logs", description="No log had to be salvaged: all came whole."),
]


@dg.multi_asset_check(specs=SPECS, name="lake_checks")
def lake_checks(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
    """What the schemas promise, held against the partitions of this run.

    A check that can't be carried out, for a file is broken, has failed and says why.
    """
    told = set()
    try:
        for result in _results(context, platform):
            told.add((str(result.asset_key), result.check_name))
            yield result
    except Exception as error:
        context.log.exception("the lake can't be checked")
        why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        for spec in SPECS:
            if (str(spec.asset_key), spec.name) not in told:
                yield dg.AssetCheckResult(
                    asset_key=spec.asset_key, check_name=spec.name, passed=False, metadata={"error": why}
                )


def _results(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
    from lwd_core.lake.integrity import damage

    days = {(cell.day, cell.site) for cell in cells(context.partition_keys)}
    for name in INGESTED:
        faults = list(
            damage(
                platform.lake(),
                name,
                chosen=lambda file: (file.partition.get("day"), file.partition.get("site")) in days,
            )
        )
        yield dg.AssetCheckResult(
            asset_key=name,
            check_name=FILES,
            passed=not faults,
            metadata={"faults": dg.MetadataValue.json(faults[:20])},
        )
    here, params = inside(context.partition_keys)
    with platform.lake().connect() as views:

        def ask(statement: str, times: int = 1) -> list[dict[str, Any]]:
            return views.sql(statement, params=params * times).to_arrow_table().to_pylist()

        for name in INGESTED:
            stored = set(views.sql(f"SELECT * FROM {name} LIMIT 0").columns)
            wrong = stored.symmetric_difference(TABLES[name].names)
            yield dg.AssetCheckResult(
                asset_key=name, check_name=SCHEMA, passed=not wrong, metadata={"differ": sorted(wrong)}
            )
            key = ", ".join(f'"{column}"' for column in TABLES[name].key)
            twice = ask(
                f"SELECT {key}, count(*) AS rows FROM {name} WHERE {here} GROUP BY {key} "
                "HAVING count(*) > 1 LIMIT 20"
            )
            yield dg.AssetCheckResult(
                asset_key=name, check_name=KEY, passed=not twice, metadata={"twice": markdown_table(twice)}
            )
        rows = ask(f"SELECT robot_id, uri, state, reason FROM logs WHERE {here}")
        broken = ask(
            "WITH s AS (SELECT episode_id, count(*) FILTER (len(action) > 0) AS stored FROM steps "
            f"WHERE {here} GROUP BY episode_id), g AS (SELECT episode_id, "
            f"sum(last_step - first_step + 1) AS covered FROM segments WHERE {here} GROUP BY episode_id) "
            "SELECT e.episode_id, e.steps AS promised, s.stored, g.covered FROM episodes e "
            f"LEFT JOIN s USING (episode_id) LEFT JOIN g USING (episode_id) WHERE {here} "
            "AND (s.stored IS DISTINCT FROM e.steps OR coalesce(g.covered, 0) < e.steps) LIMIT 20",
            times=3,
        )
    yield _reconciled(platform, context)
    yield dg.AssetCheckResult(
        asset_key="episodes",
        check_name="whole",
        passed=not broken,
        metadata={"broken": markdown_table(broken)},
    )
    for check, state, said in (
        ("quarantine", "quarantined", "in quarantine"),
        ("salvage", "salvaged", "salvaged"),
    ):
        met = [row for row in rows if row["state"] == state]
        yield dg.AssetCheckResult(
            asset_key="logs",
            check_name=check,
            passed=not met,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={said: len(met), "logs": markdown_table(met[:20])},
        )


def _reconciled(platform: Platform, context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    from lwd_core.ingest.reconcile import unaccounted
    from lwd_core.storage.relative import below, resolve

    landing = platform.settings.landing
    folders = [below(landing, folder) or "" for folder in platform.landed(cells(context.partition_keys))]
    missing = {log.uri for log in unaccounted(platform.lake(), landing, folders)}
    run = context.instance.get_run_record_by_id(context.run.run_id)
    began = run.start_time if run and run.start_time else time.time()
    # robots upload at any time: what came while this run worked is the next one's
    since = {uri for uri in missing if landed(resolve(landing, uri)) >= began}
    lost = sorted(missing - since)
    return dg.AssetCheckResult(
        asset_key="logs",
        check_name="reconciliation",
        passed=not lost,
        metadata={
            "landed since": len(since),
            "lost": dg.MetadataValue.json(lost[:20]),
        },
    )


def landed(uri: str) -> float:
    """When a log came to lie where it lies, in seconds since the epoch; 0 where the store doesn't say."""
    from lwd_core.storage.location import open_location

    place = open_location(uri)
    said = place.fs.info(place.root)
    # locally the time of the rename: a copy may bring along the time its bytes were written
    times = [said[name] for name in ("created", "mtime", "LastModified") if said.get(name)]
    return max((t.timestamp() if isinstance(t, datetime) else t for t in times), default=0.0)
