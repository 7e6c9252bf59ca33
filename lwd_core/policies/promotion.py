"""The canary's verdict carried out: by the sensor, by ``lwd policy judge``, the same way."""

from dataclasses import dataclass

from lwd_core.lake.store import Lake
from lwd_core.policies.canary import CanaryRule, CanaryVerdict, Decision, judge, tallies
from lwd_core.policies.channel_file import Release
from lwd_core.policies.keys import signing_key
from lwd_core.policies.release import publish, recorded, rollback
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

#: The errors accepted where nobody says otherwise.
RULE = CanaryRule()


@dataclass(frozen=True)
class Standing:
    """A canary beside another production, and what its episodes say so far."""

    canary: Release
    production: Release
    verdict: CanaryVerdict


def standing(lake: Lake, rule: CanaryRule = RULE) -> Standing | None:
    """Judge the canary; None where there is none or production runs the same policy."""
    ours, theirs = recorded(lake, Channel.CANARY), recorded(lake, Channel.PRODUCTION)
    if ours is None or theirs is None or ours.policy_id == theirs.policy_id:
        return None
    verdict = judge(tallies(lake, ours.policy_id), tallies(lake, theirs.policy_id), rule)
    return Standing(ours, theirs, verdict)


def settle(lake: Lake, settings: Settings, *, now_ns: int, rule: CanaryRule = RULE) -> Standing | None:
    """Judge the canary, then promote it, take it back, or let it go on; what was judged is returned.

    A canary that is taken back makes room for the one before it, the first one for production's policy.
    """
    found = standing(lake, rule)
    if found is None or found.verdict.decision is Decision.WAIT:
        return found
    key = signing_key(settings.keys)
    evidence = {**found.verdict.evidence, "against": found.production.policy_id}
    if found.verdict.decision is Decision.PROMOTE:
        publish(
            lake,
            settings.releases,
            Channel.PRODUCTION,
            policy_id=found.canary.policy_id,
            key=key,
            evidence=evidence,
            now_ns=now_ns,
            valid_days=settings.release_days,
        )
    else:
        rollback(
            lake,
            settings.releases,
            Channel.CANARY,
            key=key,
            evidence=evidence,
            now_ns=now_ns,
            first=found.production,
            valid_days=settings.release_days,
        )
    return found
