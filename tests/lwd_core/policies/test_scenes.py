import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.policies.scenes import Purpose, purpose_of, scene_seeds, training_seeds


@given(st.sampled_from(Purpose), st.integers(0, 10**9 - 300), st.integers(0, 300))
def test_every_seed_lies_in_the_range_of_its_purpose(purpose: Purpose, first: int, count: int) -> None:
    seeds = scene_seeds(purpose, count, first=first)
    assert len(set(seeds)) == count
    assert {purpose_of(s) for s in seeds} <= {purpose}


@given(st.text(max_size=20), st.integers(0, 50))
def test_training_seeds_belong_to_the_name_of_the_run(run: str, count: int) -> None:
    seeds = training_seeds(run, count)
    assert seeds == training_seeds(run, count + 3)[:count]
    assert {purpose_of(s) for s in seeds} <= {Purpose.TRAINING}
    assert count == 0 or seeds != training_seeds(run + "'", count)


@pytest.mark.parametrize("seed", [-1, 3 * 10**9])
def test_a_number_outside_all_ranges_is_refused(seed: int) -> None:
    with pytest.raises(ValueError):
        purpose_of(seed)


def test_a_range_cannot_run_into_the_next() -> None:
    with pytest.raises(ValueError):
        scene_seeds(Purpose.TRAINING, 2, first=10**9 - 1)
