"""The report: what all rounds so far achieved."""

from typing import TYPE_CHECKING

import dagster as dg

from pipelines.assets.policies import policy_of
from pipelines.automation import FOLLOWS_ROUNDS
from pipelines.platform import Platform
from pipelines.profile import NIGHTLY, Profile
from pipelines.schemas import page, picture

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake


def trained_rounds(plan: Profile, lake: "Lake") -> list[str]:
    """Rounds that have a policy: those of the profile in its order, then the nights."""
    rows = lake.sql("SELECT DISTINCT config->>'run' AS run FROM policies").to_pylist()
    made = {row["run"] for row in rows}
    nights = sorted(name for name in made if name and name.startswith(NIGHTLY))
    return [r.name for r in plan.rounds if r.name in made] + nights


@dg.asset(
    deps=[dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping()) for name in ("release", "values")],
    group_name="reports",
    kinds={"html", "matplotlib"},
    owners=["team:learning"],
    automation_condition=FOLLOWS_ROUNDS,
)
def report(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Success per task and round, value along episodes, interventions, losses: a page and ``report.json``."""
    from lwd_core.reports.findings import Findings, RoundOfLearning, collect
    from lwd_core.reports.fleet_page import write_fleet_page
    from lwd_core.reports.page import CAPTIONS, WrittenReport, write_report

    plan, settings, lake = platform.plan, platform.settings, platform.lake()
    rounds = [
        RoundOfLearning(
            name=r.name,
            stage=str(r.stage),
            day=plan.day(r.name),
            policy_id=policy_of(platform, r.name)["policy_id"],
            metrics=f"{settings.checkpoints}/{r.name}/metrics.jsonl",
        )
        for r in map(plan.round, trained_rounds(plan, lake))
    ]

    def write() -> tuple[Findings, WrittenReport]:
        findings = collect(lake, rounds)
        title, now_ns = f"A fleet learns while it is deployed ({plan.name})", platform.now_ns()
        return findings, write_report(f"{settings.reports}/{plan.name}", findings, title=title, now_ns=now_ns)

    findings, written = lake.tombstones.steady(write)
    fleet = write_fleet_page(lake, settings, f"{settings.reports}/{plan.name}", now_ns=platform.now_ns())
    context.log.info(f"report: {written.html}")
    return dg.MaterializeResult(
        metadata={
            "page": page(settings.reports, written.html),
            "fleet page": page(settings.reports, fleet),
            **{name: picture(image, CAPTIONS[name]) for name, image in written.figures.items()},
            "gain": dg.MetadataValue.json(findings.gain()),
            "report.json": page(settings.reports, written.json),
        }
    )
