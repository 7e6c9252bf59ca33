from collections.abc import Sequence

import numpy as np
import pytest

from lwd_core.judges.calibration import calibrate


def episodes(predicted: Sequence[float], came: Sequence[float], length: int = 4):
    return [np.full(length, p) for p in predicted], [np.full(length, c) for c in came]


def test_what_comes_as_predicted_has_no_error() -> None:
    found = calibrate(*episodes([0.0, 0.5, 0.5, 1.0], [0, 0, 1, 1]))
    assert found is not None
    assert found.error == pytest.approx(0)
    assert found.bias == pytest.approx(0)
    assert [(b.predicted, b.came, b.episodes) for b in found.bins] == [(0, 0, 1), (0.5, 0.5, 2), (1, 1, 1)]


def test_an_optimist_is_off_by_its_optimism() -> None:
    found = calibrate(*episodes([0.8] * 10, [1] * 5 + [0] * 5))
    assert found is not None
    assert found.error == pytest.approx(0.3)
    assert found.bias == pytest.approx(0.3)
    assert found.bias_low < 0.3 < found.bias_high
    assert len(found.bins) == 1  # equal predictions are never parted


def test_errors_do_not_cancel_but_biases_do() -> None:
    found = calibrate(*episodes([0.2, 0.8] * 5, [1, 0] * 5))
    assert found is not None
    assert found.error == pytest.approx(0.8)
    assert found.bias == pytest.approx(0)


def test_a_long_episode_counts_as_much_as_a_short_one() -> None:
    found = calibrate([np.full(1, 0.5), np.full(99, 0.5)], [np.zeros(1), np.ones(99)])
    assert found is not None
    assert found.bins[0].came == pytest.approx(0.5)


def test_the_interval_is_of_episodes_not_of_states() -> None:
    rng = np.random.default_rng(0)
    came = (rng.random(20) < 0.5).astype(float)
    short = calibrate(*episodes([0.5] * 20, list(came), 2))
    long = calibrate(*episodes([0.5] * 20, list(came), 200))
    assert short is not None
    assert long is not None
    assert (short.bins[0].low, short.bins[0].high) == pytest.approx((long.bins[0].low, long.bins[0].high))
    assert long.bins[0].high - long.bins[0].low > 0.3


def test_nothing_to_look_at() -> None:
    assert calibrate([], []) is None
