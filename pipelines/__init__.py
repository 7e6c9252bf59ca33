"""Dagster only: assets by stage, checks, partitions, sensors, schedules, resources. No arithmetic."""

import warnings

# Single-run backfills are what makes a day of many sites one run; Dagster still calls them beta.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
# Dagster's own decorators pass it on.
warnings.filterwarnings("ignore", message="Parameter `owners`")
# One writer a Pipes session is all there is here.
warnings.filterwarnings("ignore", message="Function `PipesMessageReader.expected_writer_count`")
