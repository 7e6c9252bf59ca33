import numpy as np
import pytest

from lwd_core.lake.store import Lake
from lwd_core.policies.canary import CanaryRule, Decision, EpisodeTally, judge, tallies
from tests.lwd_core.labels.conftest import episode_rows

RULE = CanaryRule()
PRODUCTION = {"easy": EpisodeTally(2000, 1800, 200), "hard": EpisodeTally(2000, 1000, 1000)}


def run_canary(rng, worse: float, most=600) -> Decision:
    """Let episodes arrive one by one until a decision falls."""
    counts = {task: [0, 0, 0] for task in PRODUCTION}
    for _ in range(most):
        task = str(rng.choice(list(PRODUCTION)))
        base = PRODUCTION[task]
        counts[task][0] += 1
        counts[task][1] += rng.random() < base.successes / base.episodes - worse
        counts[task][2] += rng.random() < base.intervened / base.episodes + worse
        verdict = judge({t: EpisodeTally(*c) for t, c in counts.items()}, PRODUCTION, RULE)
        if verdict.decision is not Decision.WAIT:
            return verdict.decision
    return Decision.WAIT


def test_the_stated_errors_hold():
    rng = np.random.default_rng(0)
    good = [run_canary(rng, 0.0) for _ in range(200)]
    bad = [run_canary(rng, 0.15) for _ in range(200)]
    # two questions, each with its own error: the union bound, and three standard errors of 200 runs
    assert good.count(Decision.ROLL_BACK) / 200 <= 0.10 + 3 * (0.1 * 0.9 / 200) ** 0.5
    assert good.count(Decision.PROMOTE) / 200 >= 0.8
    assert bad.count(Decision.PROMOTE) / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_a_sabotaged_policy_is_rolled_back_at_once():
    verdict = judge({"easy": EpisodeTally(10, 0, 10)}, PRODUCTION, RULE)
    assert verdict.decision is Decision.ROLL_BACK
    assert "succeeds clearly less" in verdict.reason
    assert verdict.evidence["episodes"] == 10


def test_interventions_alone_can_roll_back():
    verdict = judge({"easy": EpisodeTally(20, 19, 14)}, PRODUCTION, RULE)
    assert verdict.decision is Decision.ROLL_BACK
    assert "people take over" in verdict.reason


@pytest.mark.parametrize(
    "production", [{}, {"easy": EpisodeTally(5, 5, 0)}], ids=["another task", "hardly any baseline"]
)
def test_without_a_baseline_it_waits(production):
    assert judge({"easy": EpisodeTally(50, 0, 50)}, production, RULE).decision is Decision.WAIT


def test_tallies_count_fleet_episodes_of_a_known_outcome(tmp_path):
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    rows = episode_rows(9)
    policy = rows.schema.get_field_index("policy_id")
    rows = rows.set_column(policy, rows.schema.field(policy), [["p"] * 8 + ["q"]])
    lake.append("episodes", rows)
    assert tallies(lake, "p") == {"reach": EpisodeTally(episodes=6, successes=3, intervened=0)}
