"""From a checkpoint to a policy on a channel: bundle, evaluation, gate and release."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from lwd_core.errors import UserError
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.profile import Profile
from pipelines.schemas import markdown_table, picture, table_metadata
from storage_schemas.tables import EVALUATIONS, RELEASES
from storage_schemas.vocabulary import Channel

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake


def policy_of(platform: Platform, round_name: str) -> dict:
    """Row of the policy a round made. Raises UserError where it made none."""
    rows = platform.lake().read("policies", where="config->>'run' = ?", params=(round_name,)).to_pylist()
    if not rows:
        raise UserError(f"round {round_name}: has no policy yet; materialise its policy first")
    return max(rows, key=lambda row: row["created_ns"])


@dg.asset(
    deps=["policy"],
    group_name="policies",
    kinds={"mujoco", "deltalake"},
    owners=["team:learning"],
    metadata=table_metadata(EVALUATIONS),
    partitions_def=ROUNDS,
    pool="fleet",
)
def evaluation(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Success of the round's policy, alone, on scenes that no training episode used.

    Half as many scenes of the selection range go before: the gate decides on those, the report never.
    """
    from lwd_core.fleet.evaluate import evaluate
    from lwd_core.policies.gate import success_rate
    from lwd_core.policies.inference import Policy
    from lwd_core.policies.keys import trusted_keys
    from lwd_core.policies.registry import address
    from lwd_core.policies.scenes import Purpose, scene_seeds, seed_range
    from lwd_core.reports.glimpses import success_bars

    plan, lake = platform.plan, platform.lake()
    row = policy_of(platform, context.partition_key)
    judged = plan.evaluation
    each = {Purpose.SELECTION: max(1, judged.episodes_per_task // 2)}
    each[Purpose.EVALUATION] = judged.episodes_per_task
    seeds = [seed for purpose, count in each.items()
             for seed in scene_seeds(purpose, count, first=judged.first_scene)]  # fmt: skip

    def tell(done: int, total: int) -> None:
        if done == total or done % max(1, total // 4) == 0:
            context.log.info(f"{done}/{total} evaluation episodes")

    if judged_on(lake, row["policy_id"], plan, seeds) < len(plan.tasks) * len(seeds):
        policy = Policy.load(address(platform.settings.policies, row), trusted_keys(platform.settings.keys))
        rows = evaluate(
            policy,
            plan.tasks,
            seeds,
            now_ns=platform.now_ns(),
            robot=plan.robot,
            camera_size=plan.camera_size,
            words=judged.words,
            progress=tell,
        )
        # replace, so that an evaluation that is run again does not count twice
        lake.replace("evaluations", rows, {"policy_id": [row["policy_id"]]})
    rate = success_rate(lake, row["policy_id"])
    context.log.info(f"success {rate}")
    by_task = lake.sql(
        "SELECT task, count(*) AS episodes, avg(success::INT) AS success, avg(steps) AS steps, "
        "(SELECT avg(b.success::INT) FROM evaluations b WHERE b.policy_id = $3 AND b.task = e.task "
        "AND b.seed >= $2) AS baseline FROM evaluations e WHERE policy_id = $1 AND seed >= $2 "
        "GROUP BY task ORDER BY task",
        (row["policy_id"], seed_range(Purpose.EVALUATION)[0], baseline(platform, row["policy_id"]) or ""),
    ).to_pylist()
    return dg.MaterializeResult(
        metadata={
            "policy": row["policy_id"],
            "success": rate.rate,
            "95 % interval": f"{rate.low:.3f} to {rate.high:.3f}",
            "dagster/partition_row_count": rate.trials,
            "by task": markdown_table(by_task),
            "success by task": picture(success_bars(by_task), "success by task"),
        }
    )


def judged_on(lake: "Lake", policy_id: str, plan: Profile, seeds: Sequence[int]) -> int:
    """How many of these scenes the policy has been judged on already: they give the same answer again."""
    return lake.sql(
        "SELECT count(*) AS n FROM evaluations "
        "WHERE policy_id = ? AND list_contains(?, task) AND list_contains(?, seed) "
        "AND coalesce(words, 'usual') = ?",
        (policy_id, list(plan.tasks), list(seeds), str(plan.evaluation.words)),
    ).to_pylist()[0]["n"]


def baseline(platform: Platform, policy_id: str = "") -> str | None:
    """The policy production runs, which this one would replace; None where there is no other."""
    from lwd_core.policies.release import recorded

    held = recorded(platform.lake(), Channel.PRODUCTION)
    return held.policy_id if held and held.policy_id != policy_id else None


@dg.asset_check(asset="evaluation", blocking=True)
def gate_passes(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """The policy is not clearly worse than the one it would replace (docs/policies.md).

    At night it stops the release and somebody is told. A round the profile plans goes on with what
    production runs, so there it is a warning.
    """
    from lwd_core.policies.gate import gate

    row = policy_of(platform, context.partition_key)
    verdict = gate(platform.lake(), row["policy_id"], baseline(platform, row["policy_id"]))
    planned = platform.plan.plans(context.partition_key)
    return dg.AssetCheckResult(
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN if planned else dg.AssetCheckSeverity.ERROR,
        metadata={"gate": verdict.reason, "evidence": dg.MetadataValue.json(verdict.evidence)},
    )


@dg.asset(
    deps=["evaluation"],
    group_name="policies",
    kinds={"json"},
    owners=["team:robots"],
    metadata=table_metadata(RELEASES),
    partitions_def=ROUNDS,
)
def release(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The round's policy on a channel, if the gate lets it pass; else nothing changes.

    A round of the profile goes into production, one that ran by itself at night to the canary.
    """
    from lwd_core.policies.gate import gate
    from lwd_core.policies.keys import signing_key
    from lwd_core.policies.release import publish, recorded

    settings, lake = platform.settings, platform.lake()
    row = policy_of(platform, context.partition_key)
    key = signing_key(settings.keys)
    before = recorded(lake, Channel.PRODUCTION)
    channel = Channel.PRODUCTION if platform.plan.plans(context.partition_key) else Channel.CANARY
    verdict = gate(lake, row["policy_id"], baseline(platform, row["policy_id"]))
    context.log.info(f"gate: {verdict.reason}")

    def put(policy_id: str, evidence: dict[str, object]) -> None:
        publish(
            lake,
            settings.releases,
            channel,
            policy_id=policy_id,
            key=key,
            evidence=evidence,
            now_ns=platform.now_ns(),
            valid_days=settings.release_days,
        )

    if verdict.passed:
        if channel is Channel.CANARY and before and recorded(lake, channel) is None:
            # the first canary needs something to fall back to
            put(before.policy_id, {"why": "what production runs"})
        put(row["policy_id"], verdict.evidence)
    history = lake.sql(
        "SELECT make_timestamp(created_ns // 1000) AS at, channel, policy_id, state FROM releases "
        "ORDER BY created_ns DESC, state LIMIT 20"
    ).to_pylist()
    return dg.MaterializeResult(
        metadata={
            "policy": row["policy_id"],
            "released": verdict.passed,
            "channel": str(channel),
            "gate": verdict.reason,
            "evidence": dg.MetadataValue.json(verdict.evidence),
            "history": markdown_table(history),
            "dagster/uri": settings.releases,
        }
    )
