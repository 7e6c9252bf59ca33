from pathlib import Path

import pytest

from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import train
from tests.lwd_core.snapshots.lakes import START, add_episode
from tests.lwd_core.training.test_run import SMALL, Quiet

EPISODES = 48


def succeeds(number: int) -> bool:
    return number % 3 != 0


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two tasks and four runs: sft, offline (a quarter held out), early (of the first half of the
    lake, nothing held out) and whole (of all of it)."""
    home = tmp_path_factory.mktemp("assessment")
    settings = Settings(home=str(home))
    lake = Lake.open(settings.lake, create=True)
    for i in range(EPISODES):
        steps = 20 + i % 5
        add_episode(
            lake,
            i,
            steps,
            actors=["human" if i % 4 == 1 and t > 12 else "policy" for t in range(steps)],
            seed=i,
            task=("reach", "push")[i % 2],
            instruction=("reach the cup", "push the cup")[i % 2],
            outcome="success" if succeeds(i) else "failure",
            day=("2026-01-01", "2026-01-02")[i >= EPISODES // 2],
        )
    common = {"chunk": 3, "gamma": 0.9}
    specs = {
        "offline": {"name": "held", "holdout": 0.25, **common},
        "early": {"name": "early", "days": ["2026-01-01"], **common},
        "whole": {"name": "whole", **common},
    }
    digests = {
        run: build_snapshot(lake, SnapshotSpec.parse(spec), settings.snapshots, now_ns=START).digest
        for run, spec in specs.items()
    }
    sft = {**SMALL, "run": "sft", "stage": "sft", "offline": digests["offline"]}
    train(TrainConfig.parse(sft), Quiet(), settings)
    for run, digest in digests.items():
        value = {**SMALL, "run": run, "stage": "offline", "init": "sft", "offline": digest}
        train(TrainConfig.parse(value), Quiet(), settings)
    return home


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=str(home))
