"""How much of its time a learner of the demo's size waits for batches."""

from pathlib import Path

from lwd_core.settings import Settings
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import train
from pipelines.profile import load_profile


class _Shares:
    def __init__(self) -> None:
        self.found: list[float] = []

    def log(self, update: int, metrics: dict[str, float]) -> None:
        self.found.append(metrics["data_wait_share"])


def waits(folder: Path, snapshots: Path, digest: str, runs: int) -> list[float]:
    """Shares of an offline learner's time, each over 40 updates; the first 40 find everything cold."""
    settings = Settings(home=str(folder), snapshots=str(snapshots))
    common = {**load_profile("default").training, "offline": digest, "threads": 1, "checkpoint_every": 10_000}
    started = {"run": "sft", "stage": "sft", "updates": 1, "log_every": 1}
    train(TrainConfig.parse({**common, **started}), _Shares(), settings)
    offline = {
        "run": "offline",
        "stage": "offline",
        "init": "sft",
        "updates": 40 * (runs + 1),
        "log_every": 40,
    }
    shares = _Shares()
    train(TrainConfig.parse({**common, **offline}), shares, settings)
    return shares.found[1:]
