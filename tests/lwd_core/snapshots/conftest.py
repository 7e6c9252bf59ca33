from pathlib import Path

import pytest

from lwd_core.lake.store import Lake
from tests.lwd_core.snapshots.lakes import add_episode


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), create=True)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twelve episodes of two tasks, some with a person in them; read only."""
    lake = Lake.open(str(tmp_path_factory.mktemp("fleet") / "lake"), create=True)
    for i in range(12):
        steps = 20 + i
        human = ["human" if 5 <= t < 9 + i else "policy" for t in range(steps)] if i % 3 == 0 else None
        add_episode(
            lake,
            i,
            steps,
            actors=human,
            seed=i,
            task=("reach", "push")[i % 4 == 0],
            instruction=("reach the cup", "push the cup")[i % 4 == 0],
            outcome=("success", "failure")[i % 2],
            source=("demonstration", "online")[i >= 6],
            policy_id=None if i < 6 else f"p{i % 2}",
            robot_id=f"r{i % 3}",
        )
    return lake
