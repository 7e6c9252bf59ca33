"""Processes started by torchrun: two that share a batch end where one ends, and stop when told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import read_checkpoint, steps
from lwd_core.training.run import train
from tests.lwd_core.training.test_run import Quiet, config, state


def torchrun(config, settings, folder) -> subprocess.Popen:
    """Two workers on this machine, as the docs say to start them."""
    path = folder / f"{config.run}.json"
    path.write_text(json.dumps(config.to_dict()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    place = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    return subprocess.Popen(
        [*torchrun, *place, "-m", "lwd_core.training", "--config", str(path)],
        env={**os.environ, "LWD_HOME": settings.home, "LWD_SNAPSHOTS": settings.snapshots},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.servers
@pytest.mark.parametrize("stage", ["sft", "online"])
def test_two_workers_equal_one(settings, snapshots, tmp_path, stage):
    for before in {"sft": [], "online": ["sft", "offline"]}[stage]:
        train(config(snapshots, before), Quiet(), settings)
    alone = train(config(snapshots, stage, run="alone"), Quiet(), settings)
    together = config(snapshots, stage, run="together")
    process = torchrun(together, settings, tmp_path)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    result = train(together, Quiet(), settings)  # finished: only read
    ours = state(alone)
    for name, tensor in state(result).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, ours[name], atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.servers
def test_two_workers_stop_when_told_to(settings, snapshots, tmp_path):
    long = config(snapshots, "sft", run="long", updates=1_000_000, log_every=1)
    process = torchrun(long, settings, tmp_path)
    run = open_location(f"{settings.checkpoints}/long")
    deadline = time.monotonic() + 240
    while not run.exists("metrics.jsonl") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    (step,) = steps(run)
    assert f"run long: stopped at update {step}" in said
    checkpoint = read_checkpoint(open_location(run.path(f"step-{step}")))
    assert checkpoint.about["update"] == step
