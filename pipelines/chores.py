"""Ops that make no asset: the canary's verdict carried out, channels signed anew, upkeep of the lake."""

import dagster as dg

from lwd_core.errors import UserError
from pipelines.partitions import partition
from pipelines.platform import Platform


@dg.op(description="Promotes or rolls back; waits where the episodes have not decided.")
def judge_canary(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.policies.promotion import settle

    found = settle(platform.lake(), platform.settings, now_ns=platform.now_ns())
    if found is None:
        context.log.info("no canary beside production")
    else:
        decision, why = found.verdict.decision, found.verdict.reason
        context.log.info(f"canary {found.canary.policy_id}: {decision}, {why}")
        context.add_output_metadata({"policy": found.canary.policy_id, "decision": str(decision), "why": why})


@dg.op(description="Signs what each channel holds with a new number and expiry: a quiet fleet goes on.")
def renew_channels(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.policies.keys import has_signing_key, signing_key, trusted_keys
    from lwd_core.policies.release import refresh

    settings = platform.settings
    if not has_signing_key(settings.keys):
        context.log.warning("no signing key here: run `lwd policy refresh` where policies are signed")
        return
    done = refresh(
        platform.lake(),
        settings.releases,
        key=signing_key(settings.keys),
        trusted=trusted_keys(settings.keys),
        now_ns=platform.now_ns(),
        valid_days=settings.release_days,
    )
    for release in done:
        context.log.info(f"channel {release.channel}: number {release.number}, expires {release.expires}")


@dg.op(
    description="Takes in logs of days before the first, of days to come, or of sites that are no partition.",
    pool="lake",
)
def ingest_unpartitioned(context: dg.OpExecutionContext, platform: Platform) -> None:
    from lwd_core.ingest.commit import ingest
    from lwd_core.ingest.pending import waiting

    lake, settings = platform.lake(), platform.settings
    paths = []
    for (day, site), uris in waiting(lake, settings).items():
        try:
            partition(day, site)
        except UserError as error:
            paths += uris
            context.log.warning(f"{len(uris)} logs, {uris[0]!r} the first: {error}")
    result = ingest(lake, settings, paths, embodiments=platform.embodiments(), now_ns=platform.now_ns())
    context.log.info(f"{result.episodes} episodes from {result.accepted.files} logs")
    for uri, reason in result.reasons[:20]:
        context.log.warning(f"{uri}: {reason}")


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
