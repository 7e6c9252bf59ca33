"""The fleet: simulated robots work a day at a site and upload their logs.

The one edge of the loop that Dagster does not draw is here: robots take their policy from the
release channel, between episodes, as real ones do. On a real fleet this asset is observed, not
made: robots upload by themselves and the landing sensor sees it.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from lwd_core.errors import UserError
from pipelines.partitions import DAY_SITE, Cell, cells
from pipelines.platform import Platform
from pipelines.profile import Profile
from pipelines.schemas import markdown_table
from storage_schemas.vocabulary import Channel, Source

if TYPE_CHECKING:
    from lwd_core.fleet.actor import FleetConfig
    from lwd_core.fleet.workcells import Workcells
    from lwd_core.policies.inference import Policy


@dg.asset(
    group_name="fleet",
    kinds={"mujoco", "mcap"},
    owners=["team:robots"],
    partitions_def=DAY_SITE,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="fleet",
)
def fleet_logs(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Raw logs (MCAP, one an episode) in the landing zone, as robots upload them."""
    from lwd_core.fleet.workcells import Workcells

    rows = []
    with Workcells(platform.plan.robot) as workcells:
        for cell in cells(context.partition_keys):
            row = _work(context, platform, cell, workcells)
            own = {name: row[name] for name in ("episodes", "bytes", "success", "human share")}
            context.add_asset_metadata(own, partition_key=cell.key)
            rows.append(row)
    return dg.MaterializeResult(
        metadata={"dagster/uri": platform.settings.landing, "by site": markdown_table(rows)}
    )


def _work(
    context: dg.AssetExecutionContext, platform: Platform, cell: Cell, workcells: "Workcells"
) -> dict[str, Any]:
    """One day of one site, as the round of that day plans it."""
    from lwd_core.fleet.actor import demonstration_seeds, run_fleet
    from lwd_core.policies.scenes import training_seeds

    plan = platform.plan
    planned = plan.round_of(cell.day).fleet
    # a name of its own for every day and site: no scene is recorded twice by design
    run = f"{plan.name}/{plan.seed}/{cell.day}/{cell.site}"
    if planned.source is Source.DEMONSTRATION:
        policy = None
        count = planned.episodes_per_task
        seeds = demonstration_seeds(plan.tasks, run, count, robot=plan.robot, cells=workcells)
    else:
        policy = released_policy(platform)
        seeds = {t: training_seeds(f"{run}/{t}", planned.episodes_per_task) for t in plan.tasks}
    total, done = len(plan.tasks) * planned.episodes_per_task, 0

    def tell(_delivered: object) -> None:
        nonlocal done
        done += 1
        if done == total or done % max(1, total // 4) == 0:
            context.log.info(f"{cell.site}: {done}/{total} episodes")

    result = run_fleet(
        platform.settings,
        site_fleet(plan, cell.site),
        day=cell.day,
        policy=policy,
        seeds=seeds,
        source=planned.source,
        supervisor=plan.watcher(planned),
        words=plan.words,
        cells=workcells,
        progress=tell,
    )
    return {
        "site": cell.site,
        "day": cell.day,
        "policy": policy.policy_id if policy else "",
        "episodes": len(result.delivered),
        "bytes": result.bytes,
        "success": sum(d.episode.success is True for d in result.delivered) / len(result.delivered),
        "human share": result.human_share,
    }


def site_fleet(plan: Profile, site: str) -> "FleetConfig":
    """The robots of one site; the first few have a camera."""
    from lwd_core.fleet.actor import FleetConfig
    from lwd_core.fleet.robot import RobotSpec

    return FleetConfig(
        robots=tuple(
            RobotSpec(
                f"{site}-{i:02d}",
                site,
                camera_hz=plan.camera_hz if i < plan.cameras_per_site else 0.0,
                camera_size=plan.camera_size,
            )
            for i in range(plan.robots_per_site)
        ),
        tasks=plan.tasks,
        robot=plan.robot,
    )


def released_policy(platform: Platform, channel: Channel = Channel.PRODUCTION) -> "Policy":
    """The policy on a channel, verified. Raises UserError while the channel is empty."""
    from lwd_core.policies.channel_file import BadRelease, current
    from lwd_core.policies.inference import Policy
    from lwd_core.policies.keys import trusted_keys
    from lwd_core.policies.release import disagreement
    from lwd_core.storage.relative import resolve

    settings, lake = platform.settings, platform.lake()
    trusted = trusted_keys(settings.keys)
    release = current(settings.releases, channel, trusted)
    if release is None:
        raise UserError(
            f"channel {channel}: no policy released yet; record demonstrations and train one first"
        )
    problem = disagreement(lake, settings.releases, channel, trusted, platform.now_ns())
    if problem:
        raise BadRelease(problem)
    return Policy.load(resolve(settings.policies, release.policy_id), trusted)
