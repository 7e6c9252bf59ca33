from pathlib import Path

import pytest

from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from tests.lwd_core.snapshots.lakes import START, add_episode

GIVEN_BACK = range(6, 10)


def _person_drives(episode: int, frame: int) -> bool:
    """In every third episode somebody takes over for good, in one they give the robot back."""
    return (episode % 3 == 0 and frame > 8) or (episode == 2 and frame in GIVEN_BACK)


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A folder with two snapshots, and their digests: demonstrations, then rollouts."""
    home = tmp_path_factory.mktemp("training")
    lake = Lake.open(str(home / "lake"), create=True)
    for i in range(12):
        add_episode(
            lake,
            i,
            20 + i,
            actors=["human" if _person_drives(i, t) else "policy" for t in range(20 + i)],
            seed=i,
            task=("reach", "push")[i % 2],
            instruction=("reach the cup", "push the cup")[i % 2],
            outcome=("success", "failure")[i % 3 == 1],
            source=("demonstration", "online")[i >= 6],
        )
    digests = [
        build_snapshot(
            lake,
            SnapshotSpec.parse({"name": source, "sources": [source], "chunk": 3, "gamma": 0.99}),
            str(home / "snapshots"),
            now_ns=START,
        ).digest
        for source in ("demonstration", "online")
    ]
    return str(home / "snapshots"), digests[0], digests[1]


@pytest.fixture
def settings(tmp_path: Path, snapshots: tuple[str, str, str]) -> Settings:
    return Settings(home=str(tmp_path), snapshots=snapshots[0])
