"""From a checkpoint to a policy on a channel: bundle, evaluation, gate and release."""

import dagster as dg

from lwd_core.errors import UserError
from pipelines.partitions import ROUNDS
from pipelines.platform import Platform
from pipelines.schemas import markdown_table, table_metadata
from storage_schemas.tables import EVALUATIONS, RELEASES
from storage_schemas.vocabulary import Channel


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
    """Success of the round's policy, alone, on scenes that no training episode used."""
    from lwd_core.fleet.evaluate import evaluate
    from lwd_core.fleet.seeds import Purpose, scene_seeds
    from lwd_core.policies.gate import success_rate
    from lwd_core.policies.inference import Policy
    from lwd_core.policies.keys import trusted_keys

    plan, lake = platform.plan, platform.lake()
    row = policy_of(platform, context.partition_key)
    judged = plan.evaluation
    seeds = scene_seeds(Purpose.EVALUATION, judged.episodes_per_task, first=judged.first_scene)
    policy = Policy.load(row["uri"], trusted_keys(platform.settings.keys))

    def tell(done: int, total: int) -> None:
        if done == total or done % max(1, total // 4) == 0:
            context.log.info(f"{done}/{total} evaluation episodes")

    rows = evaluate(policy, plan.tasks, seeds, now_ns=platform.now_ns(), progress=tell)
    # replace, so that an evaluation that is run again does not count twice
    lake.replace("evaluations", rows, {"policy_id": [row["policy_id"]]})
    rate = success_rate(lake, row["policy_id"])
    context.log.info(f"success {rate}")
    by_task = lake.sql(
        "SELECT task, count(*) AS episodes, avg(success::INT) AS success, avg(steps) AS steps "
        "FROM evaluations WHERE policy_id = ? GROUP BY task ORDER BY task",
        (row["policy_id"],),
    ).to_pylist()
    return dg.MaterializeResult(
        metadata={
            "policy": row["policy_id"],
            "success": rate.rate,
            "95 % interval": f"{rate.low:.3f} to {rate.high:.3f}",
            "dagster/partition_row_count": rate.trials,
            "by task": markdown_table(by_task),
        }
    )


@dg.asset(
    deps=["evaluation"],
    group_name="policies",
    owners=["team:robots"],
    metadata=table_metadata(RELEASES),
    partitions_def=ROUNDS,
)
def release(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The round's policy on a channel, if the gate lets it pass; else nothing changes.

    A round of the profile goes into production, one that ran by itself at night to the canary.
    """
    from lwd_core.policies.gate import gate
    from lwd_core.policies.keys import signing_key, trusted_keys
    from lwd_core.policies.release import current, publish

    settings, lake = platform.settings, platform.lake()
    row = policy_of(platform, context.partition_key)
    key = signing_key(settings.keys)
    trusted = trusted_keys(settings.keys)
    before = current(settings.releases, Channel.PRODUCTION, trusted)
    baseline = before.policy_id if before and before.policy_id != row["policy_id"] else None
    channel = Channel.PRODUCTION if platform.plan.plans(context.partition_key) else Channel.CANARY
    verdict = gate(lake, row["policy_id"], baseline)
    context.log.info(f"gate: {verdict.reason}")

    def put(policy_id: str, policy_uri: str, evidence: dict[str, object]) -> None:
        publish(
            lake,
            settings.releases,
            channel,
            policy_id=policy_id,
            policy_uri=policy_uri,
            key=key,
            evidence=evidence,
            now_ns=platform.now_ns(),
        )

    if verdict.passed:
        if channel is Channel.CANARY and before and current(settings.releases, channel, trusted) is None:
            # the first canary needs something to fall back to
            put(before.policy_id, before.policy_uri, {"why": "what production runs"})
        put(row["policy_id"], row["uri"], verdict.evidence)
    return dg.MaterializeResult(
        metadata={
            "policy": row["policy_id"],
            "released": verdict.passed,
            "channel": str(channel),
            "gate": verdict.reason,
            "evidence": dg.MetadataValue.json(verdict.evidence),
            "dagster/uri": settings.releases,
        }
    )
