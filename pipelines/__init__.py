"""Dagster only: assets by stage, checks, partitions, sensors, schedules, resources. No arithmetic."""

import gc
import warnings

# Dagster makes hundreds of thousands of objects while it is imported and keeps them: looking for garbage
# among them every 700 is a tenth of that time.
gc.set_threshold(50_000)

# Single-run backfills are what makes a day of many sites one run; Dagster still calls them beta.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
# Dagster's own decorators pass it on.
warnings.filterwarnings("ignore", message="Parameter `owners`")
# One writer a Pipes session is all there is here.
warnings.filterwarnings("ignore", message="Function `PipesMessageReader.expected_writer_count`")
