"""Two processes that share a batch end where one ends."""

import json
import os
import subprocess
import sys

import pytest
import torch

from lwd_core.training.run import train
from tests.lwd_core.training.test_run import Quiet, config, state

WORKERS = """
import json, os, sys
from lwd_core.settings import Settings
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import train
class Quiet:
    def log(self, update, metrics): pass
train(TrainConfig.parse(json.loads(sys.argv[1])), Quiet(), Settings(**json.loads(sys.argv[2])))
"""


@pytest.mark.servers
@pytest.mark.parametrize("stage", ["sft", "online"])
def test_two_workers_equal_one(settings, snapshots, stage):
    for before in {"sft": [], "online": ["sft", "offline"]}[stage]:
        train(config(snapshots, before), Quiet(), settings)
    alone = train(config(snapshots, stage, run="alone"), Quiet(), settings)
    together = config(snapshots, stage, run="together")
    port = str(20_000 + os.getpid() % 20_000)
    places = {"home": settings.home, "snapshots": settings.snapshots}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKERS, json.dumps(together.to_dict()), json.dumps(places)],
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
        )
        for rank in range(2)
    ]
    assert [p.wait(timeout=300) for p in processes] == [0, 0]
    result = train(together, Quiet(), settings)
    ours = state(alone)
    for name, tensor in state(result).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, ours[name], atol=1e-5, rtol=1e-5, msg=name)
