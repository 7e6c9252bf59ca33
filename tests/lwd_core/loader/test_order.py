import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.loader import order
from lwd_core.loader.order import Strata, shuffled


@pytest.mark.parametrize("size", [1, 2, 3, 7, 2**20, 2**40 + 1, 2**52 + 1, 2**53])
def test_the_largest_number_draws_the_last_member_and_none_beyond(monkeypatch: pytest.MonkeyPatch, size: int):
    monkeypatch.setattr(order, "raw", lambda *_: np.full(4, 2**64 - 1, np.uint64))
    whole = {"begin": np.zeros(1, int), "size": np.array([float(size)]), "edge": np.array([0.0, 1.0])}
    for even in (True, False):
        drawn = Strata(order=None, even=even, **whole).draw(0, (0, 0), 4)
        assert drawn.tolist() == [size - 1] * 4


def test_groups_without_transitions_or_without_a_share_are_never_drawn():
    group = np.repeat([1, 3, 4], [3, 5, 2])
    equal = Strata.of(group, np.array([1.0, 1.0, 1.0, 1.0, 0.0])).draw(1, (0, 0), 4000)
    assert np.bincount(equal // 3 > 0).tolist() == pytest.approx([2000, 2000], abs=200)
    assert set(equal.tolist()) == set(range(8))
    uneven = Strata.of(group, np.array([1.0, 3.0, 1.0, 1.0, 0.0])).draw(1, (0, 0), 4000)
    assert np.bincount(uneven >= 3).tolist() == pytest.approx([3000, 1000], abs=200)
    assert set(uneven.tolist()) == set(range(8))


def test_what_a_seed_draws_stays_what_it_was():
    group = np.repeat([0, 1, 2], [5, 7, 11])
    even, uneven = np.ones(3), np.array([1.0, 2.0, 1.0])
    assert Strata.of(group, even).draw(7, (2, 16), 8).tolist() == [20, 10, 19, 14, 18, 9, 21, 10]
    assert Strata.of(group, uneven).draw(7, (2, 16), 8).tolist() == [19, 9, 18, 11, 17, 9, 21, 9]


@pytest.mark.parametrize("groups", [1, 3, 5, 7, 8])
def test_the_largest_number_draws_the_last_of_many_groups(monkeypatch: pytest.MonkeyPatch, groups: int):
    monkeypatch.setattr(order, "raw", lambda *_: np.full(4, 2**64 - 1, np.uint64))
    group = np.repeat(np.arange(groups), 11)
    for share in (np.ones(groups), np.arange(1.0, groups + 1)):
        assert Strata.of(group, share).draw(0, (0, 0), 4).tolist() == [len(group) - 1] * 4


@given(begin=st.integers(0, 60), count=st.integers(0, 40))
def test_any_part_of_a_stream_is_drawn_alone(begin: int, count: int):
    group = np.repeat([0, 1, 2], [5, 7, 11])
    for share in (np.ones(3), np.array([1.0, 2.0, 1.0])):
        strata = Strata.of(group, share)
        whole, part = strata.draw(9, (1, 5), 100), strata.draw(9, (1, 5), count, begin)
        np.testing.assert_array_equal(part, whole[begin : begin + count])


def test_members_of_a_group_come_up_equally_often():
    group = np.repeat([0, 1, 2], [5, 7, 11])
    for share in (np.ones(3), np.array([1.0, 2.0, 1.0])):
        drawn = np.bincount(Strata.of(group, share).draw(4, (0, 0), 200_000), minlength=23)
        expected = (share / share.sum() / [5, 7, 11])[group] * 200_000
        assert np.abs(drawn / expected - 1).max() < 0.05  # more than three deviations of the rarest


def test_grouped_transitions_need_no_order_and_are_drawn_alike():
    group, share = np.array([1, 0, 1, 2, 0, 2, 2]), np.array([1.0, 2.0, 1.0])
    mixed = Strata.of(group, share)
    order = np.argsort(group, kind="stable")
    sorted_ = Strata.of(group[order], share)
    assert mixed.order is not None
    assert sorted_.order is None
    ours, theirs = sorted_.draw(3, (0, 5), 200), mixed.draw(3, (0, 5), 200)
    np.testing.assert_array_equal(order[ours], theirs)


def test_a_permutation_is_the_stable_order_even_of_equal_numbers(monkeypatch: pytest.MonkeyPatch):
    found = shuffled(5, "shuffle", (0, 0), 1000)
    assert sorted(found.tolist()) == list(range(1000))
    numbers = np.tile(np.arange(40, dtype=np.uint64)[::-1], 25)
    monkeypatch.setattr(order, "raw", lambda *_: numbers)
    np.testing.assert_array_equal(shuffled(0, "shuffle", (0, 0), 1000), np.argsort(numbers, kind="stable"))
