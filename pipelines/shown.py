"""What an asset shows of each partition of its run: a backfill is one run, a person opens one day of it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.partitions import inside

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

ROWS = "dagster/partition_row_count"
#: A run of more partitions shows its tables and figures once, over all of them: figures take half a second.
ONE_BY_ONE = 8


def show_partitions(
    context: dg.AssetExecutionContext,
    name: str | dg.AssetKey,
    rows: Callable[[Sequence[str]], dict[str, int]],
    look: Callable[[Sequence[str]], dict[str, Any]],
) -> dict[str, Any]:
    """Attach to every partition of the run its own rows, and what ``look`` finds of it.

    Returns what belongs to all of them: what ``look`` finds of all together where there are too many.
    """
    keys = context.partition_keys
    together = len(keys) > ONE_BY_ONE
    counted = rows(keys)
    for key in keys:
        own = {ROWS: counted.get(key, 0)} | ({} if together else look([key]))
        context.add_asset_metadata(own, name, key)
    return look(keys) if together else {}


def rows_by_partition(
    lake: "Lake", table: str, keys: Sequence[str], where: str = "true", params: Sequence[object] = ()
) -> dict[str, int]:
    """Rows of a table in each of these day × site partitions."""
    here, places = inside(keys)
    found = lake.sql(
        f"SELECT day || '|' || site AS key, count(*) AS rows FROM {table} "
        f"WHERE {here} AND {where} GROUP BY ALL",
        (*places, *params),
    )
    return {row["key"]: row["rows"] for row in found.to_pylist()}
