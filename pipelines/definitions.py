"""Everything Dagster knows of this platform. Loads without torch, DuckDB or the lake."""

import dagster as dg

from pipelines.assets import fleet, labels, lake, policies, reports, snapshots, training
from pipelines.checks import lake_checks
from pipelines.jobs import JOBS
from pipelines.platform import Platform

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([fleet, lake, labels, snapshots, training, policies, reports]),
    asset_checks=[lake_checks, snapshots.snapshot_verifies],
    jobs=JOBS,
    resources={"platform": Platform(), "pipes": dg.PipesSubprocessClient()},
    executor=dg.in_process_executor,
)
