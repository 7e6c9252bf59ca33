"""The canary's verdict: promote, roll back, or wait, by a sequential test with stated errors.

Wald's sequential probability ratio test (1945) on two questions about the canary's episodes:
did the task succeed, and did a person have to take over. The null hypothesis is the
production policy's own rate of the same task; the alternative is that rate made worse by a
stated margin. Every episode adds its log likelihood ratio, so tasks may be mixed in any
proportion. A bad canary stops after few episodes, a good one after enough of them.
"""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum

from lwd_core.lake.same_recording import RECORDING
from lwd_core.lake.store import Lake


class Decision(StrEnum):
    """What to do with the canary."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    WAIT = "wait"


@dataclass(frozen=True)
class CanaryRule:
    """The errors accepted and the harm that matters.

    ``false_alarm``: chance to roll back a canary as good as production. ``miss``: chance to
    promote one that is worse by the margin. Both hold for each of the two questions, with
    production's rates known; they are estimates, so ``min_baseline`` episodes are asked for.
    """

    false_alarm: float = 0.05
    miss: float = 0.05
    success_margin: float = 0.15
    intervention_margin: float = 0.15
    min_episodes: int = 10
    min_baseline: int = 20


@dataclass(frozen=True)
class CanaryVerdict:
    """The decision with what it rests on."""

    decision: Decision
    reason: str
    episodes: int
    success_llr: float
    intervention_llr: float
    rule: CanaryRule

    @property
    def evidence(self) -> dict[str, object]:
        """The verdict as JSON-ready values, stored with the release."""
        return asdict(self)


@dataclass(frozen=True)
class EpisodeTally:
    """Episodes of one task: how many, how many succeeded, how many had an intervention."""

    episodes: int
    successes: int
    intervened: int


def judge(
    canary: dict[str, EpisodeTally], production: dict[str, EpisodeTally], rule: CanaryRule
) -> CanaryVerdict:
    """Decide from tallies by task. Tasks production has too few episodes of are left out."""
    known = {
        t: c for t, c in canary.items() if t in production and production[t].episodes >= rule.min_baseline
    }
    episodes = sum(tally.episodes for tally in known.values())
    success = intervention = 0.0
    for task, tally in known.items():
        base = production[task]
        failures = tally.episodes - tally.successes
        success += _llr(
            failures,
            tally.episodes,
            _rate(base.episodes - base.successes, base.episodes),
            rule.success_margin,
        )
        intervention += _llr(
            tally.intervened, tally.episodes, _rate(base.intervened, base.episodes), rule.intervention_margin
        )
    upper = math.log((1 - rule.miss) / rule.false_alarm)
    lower = math.log(rule.miss / (1 - rule.false_alarm))
    if episodes < rule.min_episodes:
        decision, reason = Decision.WAIT, f"{episodes} comparable episodes, {rule.min_episodes} are needed"
    elif success >= upper:
        decision, reason = Decision.ROLL_BACK, "it succeeds clearly less often than production"
    elif intervention >= upper:
        decision, reason = Decision.ROLL_BACK, "people take over clearly more often than in production"
    elif success <= lower and intervention <= lower:
        decision, reason = Decision.PROMOTE, "neither success nor interventions are worse by the margin"
    else:
        decision, reason = Decision.WAIT, "not decided yet"
    return CanaryVerdict(decision, reason, episodes, success, intervention, rule)


def tallies(lake: Lake, policy_id: str) -> dict[str, EpisodeTally]:
    """Fleet episodes of a policy by task, each recording once.

    Demonstrations and unknown outcomes don't count.
    """
    rows = lake.sql(
        "SELECT task, count(*) AS episodes, count(*) FILTER (outcome = 'success') AS successes, "
        f"count(*) FILTER (interventions > 0) AS intervened FROM (SELECT DISTINCT ON ({RECORDING}) * "
        "FROM episodes WHERE policy_id = ? AND source IN ('rollout', 'online') AND outcome <> 'unknown' "
        f"ORDER BY {RECORDING}, created_ns, episode_id) GROUP BY task",
        (policy_id,),
    ).to_pylist()
    return {row.pop("task"): EpisodeTally(**row) for row in rows}


def _rate(events: int, trials: int) -> float:
    """Jeffreys' estimate: never 0 or 1, so one surprise does not decide alone."""
    return (events + 0.5) / (trials + 1)


def _llr(events: int, trials: int, base: float, margin: float) -> float:
    """Log likelihood ratio of a bad event's rate being worse by the margin over being the base's.

    Where the base is so bad that the margin does not fit below 1, half of what is left is taken.
    """
    worse = base + min(margin, (1 - base) / 2)
    return events * math.log(worse / base) + (trials - events) * math.log((1 - worse) / (1 - base))
