"""Ops that make no asset: the canary's verdict carried out, and upkeep of the lake."""

import dagster as dg

from pipelines.platform import Platform
from storage_schemas.vocabulary import Channel

#: Hours for which old versions stay readable: snapshots of the last month can be rebuilt.
GRACE_HOURS = 30 * 24.0


@dg.op(description="Promotes or rolls back; waits where the episodes have not decided.")
def judge_canary(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.policies.canary import CanaryRule, Decision, judge, tallies
    from lwd_core.policies.keys import signing_key, trusted_keys
    from lwd_core.policies.release import current, publish, rollback

    settings, lake = platform.settings, platform.lake()
    trusted, key = trusted_keys(settings.keys), signing_key(settings.keys)
    ours = current(settings.releases, Channel.CANARY, trusted)
    theirs = current(settings.releases, Channel.PRODUCTION, trusted)
    if ours is None or theirs is None or ours.policy_id == theirs.policy_id:
        context.log.info("no canary beside production")
        return
    verdict = judge(tallies(lake, ours.policy_id), tallies(lake, theirs.policy_id), CanaryRule())
    context.log.info(f"canary {ours.policy_id}: {verdict.decision}, {verdict.reason}")
    if verdict.decision is Decision.PROMOTE:
        publish(
            lake,
            settings.releases,
            Channel.PRODUCTION,
            policy_id=ours.policy_id,
            policy_uri=ours.policy_uri,
            key=key,
            evidence=verdict.evidence,
            now_ns=platform.now_ns(),
        )
    if verdict.decision is Decision.ROLL_BACK:
        rollback(
            lake,
            settings.releases,
            Channel.CANARY,
            key=key,
            trusted=trusted,
            evidence=verdict.evidence,
            now_ns=platform.now_ns(),
        )


@dg.op(
    description="Fewer and larger files; files no version of the last month names are deleted.", pool="lake"
)
def compact_and_vacuum(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.lake.upkeep import compact, vacuum

    lake = platform.lake()
    for table, (before, after) in compact(lake).items():
        if before:
            context.log.info(f"{table}: {before} files became {after}")
    context.log.info(f"{len(vacuum(lake, grace_hours=GRACE_HOURS))} files deleted")
