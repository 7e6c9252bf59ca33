"""A pool of cells for the whole session, and a policy that needs no network."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lwd_core.fleet.workcells import Workcells
from lwd_core.settings import Settings


class Scripted:
    """Proposes small random motions, in chunks of five."""

    cameras = ()

    def __init__(self, policy_id: str = "scripted") -> None:
        self.policy_id = policy_id
        self.batches: list[int] = []

    def act(
        self,
        states: np.ndarray,
        instructions: list[str],
        generator: np.random.Generator,
        frames=None,
        embodiment: str = "",
    ) -> np.ndarray:
        assert states.dtype == np.float32
        assert states.shape == (len(instructions), 39)
        self.batches.append(len(states))
        return generator.uniform(-0.3, 0.3, (len(states), 5, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def cells() -> Iterator[Workcells]:
    pool = Workcells()
    yield pool
    pool.close()


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path))
