"""V's law along an episode is what the run's critic says there, and is asked of that checkpoint alone."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.studio.law import QUANTILES, Laws
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import find_checkpoint, train
from lwd_core.training.values import learned_value
from tests.lwd_core.training.test_run import Quiet

SMALL = {
    "updates": 1, "batch": 8, "log_every": 1,
    "network": {"hidden": 8, "layers": 1, "steps": 2}, "critic": {"hidden": 8, "layers": 1},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_law_holds_the_value(home: Path) -> None:
    settings = Settings()
    lake = Lake.open(settings.lake)
    spec = SnapshotSpec.parse({"name": "all", "chunk": 3})
    base = SMALL | {"offline": build_snapshot(lake, spec, settings.snapshots, now_ns=1).digest}
    train(TrainConfig.parse(base | {"run": "clone", "stage": "sft"}), Quiet(), settings)
    critic = base | {"run": "critic", "stage": "offline", "init": "clone"}
    train(TrainConfig.parse(critic), Quiet(), settings)
    labeller = learned_value(find_checkpoint(settings.checkpoints, "critic"), lake.place)
    episode = lake.episode("e0001")
    laws = Laws(settings)
    found = laws.along(episode, labeller.layer_id)
    values = np.array(found["values"])
    assert values.shape == (len(QUANTILES), len(episode["state"]))
    assert (np.diff(values, axis=0) >= 0).all()
    assert values[-1].max() > values[0].min()
    value = labeller.function(episode)
    assert (values[0] <= value + 1e-5).all()
    assert (value <= values[-1] + 1e-5).all()
    for wrong in ("value.critic.01234567@1", "value.nobody.01234567@1", "progress.model@1", "value.critic"):
        with pytest.raises(UserError):
            laws.along(episode, wrong)
