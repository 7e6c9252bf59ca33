"""Everything Dagster knows of this platform. Loads without torch, DuckDB or the lake."""

import gc
import sys

import dagster as dg

from pipelines.assets import (
    features,
    fleet,
    installed,
    labels,
    lake,
    policies,
    reports,
    snapshots,
    training,
)
from pipelines.automation import conditions
from pipelines.checks import lake_checks
from pipelines.jobs import JOBS
from pipelines.launch import Launcher
from pipelines.platform import Platform
from pipelines.schedules import SCHEDULES
from pipelines.sensors import SENSORS

ASSETS = [
    asset
    for asset in dg.load_assets_from_modules(
        [fleet, lake, labels, installed, features, snapshots, training, policies, reports]
    )
    if isinstance(asset, dg.AssetsDefinition)
]
CHECKS = [
    lake_checks,
    labels.recordings_are_sound,
    labels.no_recording_has_a_defect,
    labels.judges_agree,
    *installed.OTHER_CHECKS,
    snapshots.snapshot_verifies,
    training.critic_is_any_good,
    policies.gate_passes,
]

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=JOBS,
    sensors=[*SENSORS, conditions],
    schedules=SCHEDULES,
    resources={"platform": Platform(), "launcher": Launcher()},
    executor=dg.in_process_executor,
)

# All of it stays until the process ends: no later search for garbage has to look at it, nor the one at the
# end, which took a quarter of the time of a short process.
# (DuckDB's module reports what is not collected as a leak, where it was there before.)
if "duckdb" not in sys.modules:
    gc.freeze()
