import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.packed import RecordPool, record_type, write_records
from lwd_core.loader.pool import RowPool
from lwd_core.loader.transitions import Expansion
from lwd_core.snapshots.episode_arrays import Rows, allocate, fill
from tests.lwd_core.snapshots.reference import Episode, transitions


def rows_of(episodes: list[Episode]) -> Rows:
    """Episodes as a pool; state[row] is (episode, frame), action[t] is (t + 1)."""
    counts = np.array([len(e.valid) for e in episodes])
    arrays = allocate(int(counts.sum()), 2, 1)
    fill(
        arrays,
        (
            {
                "state": np.array([(i, t) for t in range(len(e.valid))], np.float32),
                "action": np.arange(1, e.steps + 1, dtype=np.float32)[:, None],
                "reward": np.array(e.reward, np.float32),
                "human": np.array(e.human, bool),
                "valid": np.array(e.valid, bool),
                "gap": np.array(e.gap, bool),
            }
            for i, e in enumerate(episodes)
        ),
    )
    return Rows(
        arrays,
        first=np.cumsum(counts) - counts,
        steps=np.array([e.steps for e in episodes]),
        rows=counts,
        terminated=np.array([e.terminated for e in episodes]),
        member=np.arange(len(episodes)),
    )


def plain(steps: int, *, terminated: bool = True, final: bool = True, **changes) -> Episode:
    rows = steps + final
    facts = {
        "reward": [0.0] * (steps - 1) + [1.0],
        "human": [False] * steps,
        "valid": [True] * rows,
        "gap": [False] * rows,
    }
    return Episode(**(facts | changes), terminated=terminated)


@st.composite
def episodes(draw) -> Episode:
    steps = draw(st.integers(1, 14))
    rows = steps + draw(st.integers(0, 1))
    rare = st.integers(0, 5).map(lambda n: n == 0)
    flags = lambda n, each: draw(st.lists(each, min_size=n, max_size=n))  # noqa: E731
    return Episode(
        reward=flags(steps, st.sampled_from([0.0, 0.0, 1.0, -0.5])),
        human=flags(steps, rare),
        valid=[not bad for bad in flags(rows, rare)],
        gap=flags(rows, rare),
        terminated=draw(st.booleans()),
    )


@given(
    st.lists(episodes(), min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([1.0, 0.9999, 0.9, 0.5]),
)
def test_equals_the_reference(found, chunk, n_step, stride, gamma):
    rows = rows_of(found)
    expansion = Expansion(chunk, n_step, gamma, stride)
    table = expansion.of(rows)
    expected = [
        (i, t)
        for i, e in enumerate(found)
        for t in transitions(e, chunk=chunk, n_step=n_step, gamma=gamma, stride=stride)
    ]
    assert list(zip(table["episode"], table["frame"], strict=True)) == [(i, t.frame) for i, t in expected]
    nothing = np.zeros((len(found), 5), np.int64)
    facts = EpisodeColumns(nothing, nothing[:, 0], np.ones((1, 1), np.float32), nothing[:, 0], np.ones(1))
    everything = np.arange(len(table))
    pool = RowPool(rows, table, facts, chunk)
    records = np.empty(len(table), record_type(2, chunk, 1, pool.masked))
    write_records(pool, records, at_once=3)
    if not expected:
        return
    batch = pool.gather(everything)
    packed = RecordPool(records, facts).gather(everything)
    assert packed.keys() == batch.keys()
    for name, values in batch.items():
        np.testing.assert_array_equal(packed[name], values, strict=True)
    masks = np.array([t.mask for _, t in expected])
    np.testing.assert_array_equal(batch["mask"], masks)
    np.testing.assert_array_equal(batch["state"], [(i, t.frame) for i, t in expected])
    np.testing.assert_array_equal(batch["next_state"], [(i, t.boot) for i, t in expected])
    np.testing.assert_array_equal(batch["next_frame"], [t.boot for _, t in expected])
    np.testing.assert_array_equal(batch["human"], [t.human for _, t in expected])
    np.testing.assert_allclose(batch["reward"], [t.reward for _, t in expected], rtol=1e-6)
    np.testing.assert_allclose(batch["discount"], [t.discount for _, t in expected], rtol=1e-6)
    frames = batch["frame"][:, None] + np.arange(chunk)
    np.testing.assert_array_equal(batch["action"][:, :, 0], np.where(masks, frames + 1, 0))


def one(episode: Episode, frame: int, *, chunk: int = 3, n_step: int = 1, gamma: float = 0.9):
    table = Expansion(chunk, n_step, gamma, 1).of(rows_of([episode]))
    return table[table["frame"] == frame][0]


def test_the_chunk_before_a_takeover_ends_early_and_bootstraps():
    found = one(plain(8, human=[False] * 4 + [True] * 4), 2)
    assert (found["length"], found["boot"]) == (2, 4)
    assert found["discount"] == pytest.approx(0.9**2)


def test_the_chunk_before_a_gap_bootstraps_from_the_state_before_it():
    found = one(plain(8, gap=[t == 4 for t in range(9)]), 2)
    assert (found["length"], found["boot"]) == (2, 3)
    assert found["discount"] == pytest.approx(0.9**2)


def test_success_drops_the_bootstrap_and_a_cut_log_keeps_it():
    assert one(plain(8), 6)["discount"] == 0
    assert one(plain(8), 6)["reward"] == pytest.approx(0.9)
    cut = one(plain(8, terminated=False, reward=[0.0] * 8), 6)
    assert (cut["discount"], cut["boot"]) == (pytest.approx(0.9**2), 8)
    unseen = one(plain(8, terminated=False, final=False, reward=[0.0] * 8), 6)
    assert (unseen["discount"], unseen["boot"]) == (pytest.approx(0.9**2), 7)


def test_a_window_of_n_chunks_sums_rewards_frame_by_frame():
    found = one(plain(20), 14, chunk=3, n_step=2)
    assert found["reward"] == pytest.approx(0.9**5)
    assert (found["length"], found["discount"]) == (3, 0)


def test_a_takeover_ends_the_window_of_n_chunks_too():
    found = one(plain(20, human=[False] * 5 + [True] * 15), 2, chunk=2, n_step=5)
    assert (found["length"], found["boot"]) == (2, 5)
    assert found["discount"] == pytest.approx(0.9**3)


def test_long_horizons_keep_the_papers_discount():
    found = one(plain(5400), 0, chunk=30, n_step=180, gamma=0.9999)
    assert found["reward"] == pytest.approx(0.9999**5399)
    assert found["reward"] == pytest.approx(0.5827, abs=1e-4)
