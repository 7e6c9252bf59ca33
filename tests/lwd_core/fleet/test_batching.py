import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.fleet.batching import Attempt, Request, planned, run_together


class Echo:
    """Proposes the state it was given, once a dim."""

    cameras = ()

    def __init__(self, policy_id: str) -> None:
        self.policy_id = policy_id
        self.batches: list[int] = []
        self.told: list[str] = []

    def act(
        self,
        states: np.ndarray,
        instructions: list[str],
        generator: np.random.Generator,
        frames=None,
        embodiment: str = "",
    ) -> np.ndarray:
        self.batches.append(len(states))
        self.told.append(embodiment)
        return np.repeat(states[:, None], 2, axis=1)


def counting(name: int, plans: int, policy: Echo) -> Attempt[tuple[int, int]]:
    for i in range(plans):
        chunk = yield Request(policy, np.array([name, i], dtype=float), "count")
        assert chunk.tolist() == [[name, i]] * 2  # its own plan, nobody else's
    return name, plans


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 6))
def test_every_attempt_ends_once_with_its_own_plans(plans: list[int], lanes: int) -> None:
    policies = Echo("a"), Echo("b")
    attempts = (counting(i, n, policies[i % 2]) for i, n in enumerate(plans))
    ended = list(run_together(attempts, lanes=lanes, generator=np.random.default_rng(0)))
    assert sorted(ended) == list(enumerate(plans))
    for policy in policies:
        assert all(size <= lanes for size in policy.batches)
    assert sum(sum(p.batches) for p in policies) == sum(plans)


def test_lanes_share_one_call_of_the_network() -> None:
    policy = Echo("a")
    list(
        run_together((counting(i, 3, policy) for i in range(4)), lanes=4, generator=np.random.default_rng(0))
    )
    assert policy.batches == [4, 4, 4]


def test_a_policy_is_told_whose_states_it_is_given() -> None:
    policy = Echo("a")
    asked = [
        Request(policy, np.full(2, i), "go", None, name) for i, name in enumerate(["arm", "hand", "arm"])
    ]
    chunks = planned(asked, np.random.default_rng(0))
    assert [chunk[0, 0] for chunk in chunks] == [0, 1, 2]
    assert list(zip(policy.told, policy.batches, strict=True)) == [("arm", 2), ("hand", 1)]


def test_closing_gives_back_what_attempts_hold() -> None:
    closed: list[int] = []

    def holding(name: int) -> Attempt[int]:
        try:
            while True:
                yield Request(policy, np.zeros(2), "hold")
        finally:
            closed.append(name)

    def ends() -> Attempt[int]:
        yield Request(policy, np.zeros(2), "end")
        return -1

    policy = Echo("a")
    running = run_together([holding(0), holding(1), ends()], lanes=3, generator=np.random.default_rng(0))
    assert next(running) == -1
    running.close()
    assert sorted(closed) == [0, 1]
