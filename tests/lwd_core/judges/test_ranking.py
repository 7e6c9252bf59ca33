import math

import numpy as np
import pytest

from lwd_core.judges.ranking import auc, pooled


@pytest.mark.parametrize(
    ("scores", "truth", "value"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),  # upside down
        ([7, 7, 7, 7], [0, 1, 0, 1], 0.5),  # blind
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.875),  # one tie of four pairs counts half
        ([1, 3, 2, 4], [0, 0, 1, 1], 0.75),
    ],
)
def test_known_answers(scores: list[int], truth: list[int], value: float) -> None:
    found = auc(scores, truth)
    assert found.value == pytest.approx(value)
    assert (found.positives, found.negatives) == (2, 2)
    assert found.low <= value <= found.high


def test_an_interval_has_width_where_everything_was_told_apart() -> None:
    found = auc([0, 1] * 5, [0, 1] * 5)
    assert found.high == 1
    assert 0.6 < found.low < 0.9
    turned = auc([1, 0] * 5, [0, 1] * 5)
    assert (turned.low, turned.high) == pytest.approx((0, 1 - found.low))


def test_one_class_tells_nothing() -> None:
    found = auc([1, 2, 3], [1, 1, 1])
    assert math.isnan(found.value)
    assert (found.low, found.high, found.known) == (0, 1, False)


@pytest.mark.parametrize(("distance", "n"), [(0.0, 8), (0.742, 8), (0.742, 40), (1.812, 20)])
def test_the_interval_holds_the_truth_as_often_as_it_says(distance: float, n: int) -> None:
    """Two normals so far apart: AUC = Φ(d/√2) = .5, .7, .9."""
    rng = np.random.default_rng(1)
    truth = 0.5 * (1 + math.erf(distance / 2))
    label = np.repeat([0, 1], n)
    held = 0
    for _ in range(1000):
        found = auc(rng.normal(size=2 * n) + distance * label, label)
        held += found.low <= truth <= found.high
    assert held / 1000 > 0.925


def test_pooling_does_not_reward_knowing_the_easy_task() -> None:
    """Within each task the critic is blind; over both together its AUC is .8."""
    easy, hard = ([1] * 10, [1] * 8 + [0] * 2), ([0] * 10, [0] * 8 + [1] * 2)
    assert auc(easy[0] + hard[0], easy[1] + hard[1]).value == pytest.approx(0.8)
    found = pooled([auc(*easy), auc(*hard)])
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert (found.positives, found.negatives) == (10, 10)


def test_pooling_one_part_is_that_part_and_leaves_out_what_tells_nothing() -> None:
    one = auc([1, 3, 2, 4], [0, 0, 1, 1])
    both = pooled([one, auc([1], [1])])
    assert (both.value, both.low, both.high) == pytest.approx((one.value, one.low, one.high))
    assert (both.positives, both.negatives) == (3, 2)
    assert not pooled([]).known
