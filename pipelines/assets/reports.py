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
    from lwd_core.reports.findings import RoundOfLearning


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
    from lwd_core.reports.watched import valued_clips

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
        films = valued_clips(lake, findings.values)
        seen = _looked(platform, rounds, [film.curve.episode_id for film in films])
        place = f"{settings.reports}/{plan.name}"
        return findings, write_report(place, findings, title=title, now_ns=now_ns, films=films, more=seen)

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


def _looked(platform: Platform, rounds: "list[RoundOfLearning]", episodes: list[str]) -> dict[str, bytes]:
    """What the last round's policy looks at in these episodes, as a figure; none of one that is blind."""
    from lwd_core.policies.inference import Policy
    from lwd_core.policies.keys import trusted_keys
    from lwd_core.reports.looked import glances, looked_at
    from lwd_core.storage.relative import resolve

    if not episodes:
        return {}
    settings = platform.settings
    policy = Policy.load(resolve(settings.policies, rounds[-1].policy_id), trusted_keys(settings.keys))
    seen = glances(platform.lake(), policy, episodes) if policy.cameras else []
    return {"looked": looked_at(seen)} if seen else {}
