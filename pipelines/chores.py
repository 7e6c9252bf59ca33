"""Ops that make no asset: the canary's verdict carried out, and upkeep of the lake."""

import dagster as dg

from pipelines.platform import Platform


@dg.op(description="Promotes or rolls back; waits where the episodes have not decided.")
def judge_canary(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.policies.settle import settle

    found = settle(platform.lake(), platform.settings, now_ns=platform.now_ns())
    if found is None:
        context.log.info("no canary beside production")
    else:
        context.log.info(f"canary {found.canary.policy_id}: {found.verdict.decision}, {found.verdict.reason}")


@dg.op(
    description="Fewer and larger files; files no version of the last month names are deleted.", pool="lake"
)
def compact_and_vacuum(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.lake.upkeep import compact, vacuum

    lake = platform.lake()
    for table, (before, after) in compact(lake).items():
        if before:
            context.log.info(f"{table}: {before} files became {after}")
    context.log.info(f"{len(vacuum(lake, grace_hours=24 * platform.settings.keep_days))} files deleted")
