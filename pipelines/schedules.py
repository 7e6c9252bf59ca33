"""What the clock starts: retraining at night, upkeep once a week."""

from datetime import timedelta

import dagster as dg

from lwd_core.settings import Settings
from pipelines.jobs import learning_round, upkeep
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.profile import NIGHTLY

#: Read once, when the definitions load.
SETTINGS = Settings()


@dg.schedule(
    job=learning_round,
    cron_schedule=SETTINGS.nightly,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="An online round from the newest data and the production policy; a canary comes of it.",
)
def nightly_retraining(
    context: dg.ScheduleEvaluationContext, platform: Platform
) -> dg.RunRequest | dg.SkipReason:
    from pipelines.assets.snapshots import unseen_episodes

    fresh = unseen_episodes(platform)
    if not fresh:
        return dg.SkipReason("no episode that the newest snapshot has not seen")
    day = (context.scheduled_execution_time - timedelta(days=1)).strftime("%Y-%m-%d")
    name = f"{NIGHTLY}{day}"
    context.instance.add_dynamic_partitions(str(ROUNDS.name), [name])
    return dg.RunRequest(partition_key=name, run_key=name)


@dg.schedule(
    job=upkeep,
    cron_schedule=SETTINGS.weekly,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Fewer and larger files, and nothing on disk that no version of the last month needs.",
)
def weekly_upkeep() -> dg.RunRequest:
    return dg.RunRequest()


SCHEDULES = [nightly_retraining, weekly_upkeep]
