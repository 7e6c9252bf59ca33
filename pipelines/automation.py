"""What follows from what inside the lake, and how old it may become: conditions, not hand-written sensors.

The landing zone is outside of what Dagster knows, so a sensor watches it (``sensors.py``). From the
tables on, an asset states its own condition.
"""

from datetime import timedelta

import dagster as dg

_NOT_BUSY = ~dg.AutomationCondition.any_deps_in_progress() & ~dg.AutomationCondition.in_progress()

#: Made again after what it rests on changed, whichever day that was: `eager` would see today only, and
#: late uploads to old days are normal. Tables that fail their blocking checks hold it back.
FOLLOWS_TABLES = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_missing()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
    & _NOT_BUSY
).with_label("follows its tables")
#: For something made of all rounds there are: it does not wait for rounds nobody trained yet.
FOLLOWS_ROUNDS = (dg.AutomationCondition.any_deps_updated().since_last_handled() & _NOT_BUSY).with_label(
    "follows the rounds"
)

#: Robots work every day: a day without a log is worth a look, two are a fault.
DAILY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))
#: Nights without new episodes train nothing, so policies may be older than data.
WEEKLY = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=3), fail_window=timedelta(days=8))

conditions = dg.AutomationConditionSensorDefinition(
    "lake_conditions",
    target=dg.AssetSelection.groups("labels", "features", "reports"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Labels and features follow their tables, the report follows the rounds.",
)
