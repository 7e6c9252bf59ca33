"""SIGKILL at random moments, then the same again: as if nothing had happened.

The benchmark ``faults`` does it a hundred times; here a few, on every run other moments.
"""

import os
import random
from pathlib import Path

import pytest

from tests.lwd_core.lake.kills import kill_once, prepare

KILLS = int(os.environ.get("LWD_KILLS", "2"))


@pytest.mark.parametrize("verb", ["ingest", "supersede", "compact", "erase", "remap"])
def test_killed_and_run_again(tmp_path: Path, verb: str) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    trial = prepare(tmp_path, verb)
    for _ in range(KILLS):
        kill_once(trial, rng)
