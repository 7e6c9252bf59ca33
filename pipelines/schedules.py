"""What the clock starts: retraining and signing anew at night, upkeep once a week."""

from datetime import timedelta

import dagster as dg

from lwd_core.settings import Settings
from pipelines.jobs import channel_renewal, learning_round, upkeep
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
    from pipelines.assets.policies import baseline
    from pipelines.assets.snapshots import unseen_episodes

    if baseline(platform) is None:
        return dg.SkipReason("nothing in production to go on from: train and release a first policy")
    day = (context.scheduled_execution_time - timedelta(days=1)).strftime("%Y-%m-%d")
    name = f"{NIGHTLY}{day}"
    if not unseen_episodes(platform, name):
        tasks = ", ".join(platform.plan.tasks)
        return dg.SkipReason(f"no sound episode of {tasks} that no snapshot has seen")
    context.instance.add_dynamic_partitions(str(ROUNDS.name), [name])
    return dg.RunRequest(partition_key=name, run_key=name)


@dg.schedule(
    job=channel_renewal,
    cron_schedule=SETTINGS.nightly,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Robots stop following a channel file that nobody signed anew for LWD_RELEASE_DAYS.",
)
def nightly_renewal() -> dg.RunRequest:
    return dg.RunRequest()


@dg.schedule(
    job=upkeep,
    cron_schedule=SETTINGS.weekly,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Fewer and larger files, and nothing on disk that no version of the last month needs.",
)
def weekly_upkeep() -> dg.RunRequest:
    return dg.RunRequest()


SCHEDULES = [nightly_retraining, nightly_renewal, weekly_upkeep]
