"""The report: what all rounds so far achieved."""

import dagster as dg

from pipelines.assets.policies import policy_of
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.schemas import picture


@dg.asset(
    deps=[dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping()) for name in ("release", "values")],
    group_name="reports",
    kinds={"html", "matplotlib"},
    owners=["team:learning"],
)
def report(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Success per task and round, value along episodes, interventions, losses: a page and ``report.json``."""
    from lwd_core.reports.findings import RoundOfLearning, collect
    from lwd_core.reports.page import CAPTIONS, write_report

    plan, settings = platform.plan, platform.settings
    there = set(context.instance.get_dynamic_partitions(ROUNDS.name or ""))
    rounds = [
        RoundOfLearning(
            name=r.name,
            stage=str(r.stage),
            day=plan.day(r.name),
            policy_id=policy_of(platform, r.name)["policy_id"],
            metrics=f"{settings.checkpoints}/{r.name}/metrics.jsonl",
        )
        for r in plan.rounds
        if r.name in there
    ]
    findings = collect(platform.lake(), rounds)
    written = write_report(
        f"{settings.reports}/{plan.name}",
        findings,
        title=f"A fleet learns while it is deployed ({plan.name})",
        now_ns=platform.now_ns(),
    )
    context.log.info(f"report: {written.html}")
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(written.html),
            **{name: picture(image, CAPTIONS[name]) for name, image in written.figures.items()},
            "gain": dg.MetadataValue.json(findings.gain()),
            "report.json": dg.MetadataValue.path(written.json),
        }
    )
