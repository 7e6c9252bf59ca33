import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.snapshots.statistics import MomentsAccumulator


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=4), st.integers(0, 100))
def test_blocks_give_the_statistics_of_the_whole(sizes: list[int], seed: int):
    rng = np.random.default_rng(seed)
    blocks = [rng.normal(5, 3, (n, 2)).astype(np.float32) for n in sizes]
    accumulator = MomentsAccumulator(2)
    for block in blocks:
        accumulator.add(block)
    found, rows = accumulator.result(), np.concatenate(blocks).astype(np.float64)
    assert found.count == found.quantile_rows == len(rows)
    assert found.mean == pytest.approx(rows.mean(axis=0).tolist(), rel=1e-12)
    assert found.std == pytest.approx(rows.std(axis=0).tolist(), rel=1e-9, abs=1e-12)
    assert found.min == tuple(rows.min(axis=0).tolist())
    assert found.max == tuple(rows.max(axis=0).tolist())
    assert found.q01 == pytest.approx(np.quantile(rows, 0.01, axis=0).tolist(), rel=1e-12)
    assert found.q99 == pytest.approx(np.quantile(rows, 0.99, axis=0).tolist(), rel=1e-12)


def test_quantiles_of_more_rows_than_kept_are_of_every_other():
    accumulator = MomentsAccumulator(1, reservoir=100)
    rows = np.arange(1000, dtype=np.float32)[:, None]
    for begin in range(0, 1000, 30):
        accumulator.add(rows[begin : begin + 30])
    found = accumulator.result()
    assert found.quantile_rows == 63  # every 16th
    assert found.q99[0] == pytest.approx(0.99 * 992)
    assert found.count == 1000


def test_nothing_has_no_statistics():
    with pytest.raises(ValueError, match="no valid rows"):
        MomentsAccumulator(1).result()
