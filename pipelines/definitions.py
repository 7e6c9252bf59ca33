"""Everything Dagster knows of this platform. Loads without torch, DuckDB or the lake."""

import dagster as dg

from pipelines.assets import fleet, labels, lake, policies, reports, snapshots, training
from pipelines.checks import lake_checks
from pipelines.jobs import JOBS
from pipelines.platform import Platform
from pipelines.schedules import SCHEDULES
from pipelines.sensors import SENSORS

ASSETS = [
    asset
    for asset in dg.load_assets_from_modules([fleet, lake, labels, snapshots, training, policies, reports])
    if isinstance(asset, dg.AssetsDefinition)
]
CHECKS = [lake_checks, snapshots.snapshot_verifies]

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=JOBS,
    sensors=SENSORS,
    schedules=SCHEDULES,
    resources={"platform": Platform(), "pipes": dg.PipesSubprocessClient()},
    executor=dg.in_process_executor,
)
