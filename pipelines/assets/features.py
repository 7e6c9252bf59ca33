"""Features: what the pretrained backbones that a profile's policies see by make of the frames."""
# an asset's result is of any type
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false

from typing import TYPE_CHECKING

import dagster as dg

from lwd_core import config_file
from pipelines.automation import DAILY, FOLLOWS_TABLES
from pipelines.partitions import DAY_SITE, inside
from pipelines.platform import Platform
from pipelines.profile import Profile
from storage_schemas.vocabulary import Stage

if TYPE_CHECKING:
    from lwd_core.rl.encoders import VisionConfig


@dg.asset(
    deps=["episodes", "steps"],
    group_name="features",
    kinds={"parquet", "pytorch"},
    owners=["team:learning"],
    partitions_def=DAY_SITE,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="lake",
    automation_condition=FOLLOWS_TABLES,
    freshness_policy=DAILY,
)
def features(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """What each pretrained backbone of the profile makes of each frame, kept beside the frames; none for a
    profile whose policies see pictures themselves, or nothing."""
    seen = [vision for vision in visions(platform.plan) if vision.pretrained is not None]
    if not seen:
        return dg.MaterializeResult(metadata={"frames": 0, "backbone": "none in this profile"})
    from lwd_core.features.build import build_features
    from lwd_core.features.extractor import extractor_of

    where, params = inside(context.partition_keys)
    shown: dict[str, str] = {}
    for vision in seen:
        done = build_features(
            platform.lake(), extractor_of(vision), where=where, params=params, cameras=vision.cameras
        )
        for fault in done.faults:
            context.log.error(fault)
        shown[done.layer] = f"{done.frames} frames looked at, {done.before} before, {len(done.faults)} faults"
    return dg.MaterializeResult(metadata=shown)


def visions(plan: Profile) -> list["VisionConfig"]:
    """How the policies of a profile's rounds see, each way once."""
    if not any("network" in {**plan.training, **planned.training} for planned in plan.rounds):
        return []  # and nothing of torch is loaded
    from lwd_core.training.config import TrainConfig

    found: list[VisionConfig] = []
    for planned in plan.rounds:
        named = {"run": planned.name, "stage": str(planned.stage), "offline": "-"}
        named |= {"init": "-"} if planned.stage is not Stage.SFT else {}
        named |= {"online": "-"} if planned.stage is Stage.ONLINE else {}
        over = config_file.over(plan.training, planned.training)
        vision = TrainConfig.parse({**over, **named}, where=f"profile {plan.name}").network.vision
        if vision is not None and vision not in found:
            found.append(vision)
    return found
