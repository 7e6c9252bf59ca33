"""Intervals of success rates: their numbers, and what is no rate."""

import pytest

import lwd_core as lwd


def test_wilson_is_honest_at_the_ends() -> None:
    rate = lwd.wilson(1, 2)
    assert (rate.low, rate.high) == (pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4))
    assert lwd.wilson(0, 10).low == 0.0
    assert lwd.wilson(10, 10).high == 1.0
    assert (lwd.wilson(0, 0).low, lwd.wilson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((3, 2), "successes: 3 of 2 trials; give a number from 0 to the trials"),
        ((-1, 2), "successes: -1 of 2 trials"),
        ((0, -2), "successes: 0 of -2 trials"),
        ((1, 2, 95), "confidence: 95 is not between 0 and 1"),
    ],
)
def test_what_is_no_rate_is_refused(asked: tuple[int, ...], said: str) -> None:
    with pytest.raises(lwd.UserError, match=said):
        lwd.wilson(*asked)
