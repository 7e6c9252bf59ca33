"""The online learner: where it starts, and how what it learns reaches the robots."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from lwd_core import config_file
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.channel_file import Release
from lwd_core.policies.keys import signing_key
from lwd_core.policies.promotion import standing
from lwd_core.policies.registry import find, register
from lwd_core.policies.release import publish, recorded
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.training.checkpoint import Checkpoint, newest_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.export import export_policy, parent_of
from lwd_core.training.upgrade import upgraded
from storage_schemas.vocabulary import Channel, Source, Stage


def online_config(settings: Settings, run: str, over: Mapping[str, Any]) -> TrainConfig:
    """A run that goes on from the policy in production, with its data and settings.

    ``over`` are fields of ``TrainConfig`` that differ. The lake's online episodes of the same tasks are
    followed. A run that was begun is taken up as it was. Raises UserError while production is empty, and
    where ``over`` differs from what the run was begun with.
    """
    begun = newest_checkpoint(settings.checkpoints, run)
    if begun is not None:
        before = upgraded(begun.about["config"])
        config = TrainConfig.parse(before, addresses=False)
        if TrainConfig.parse(config_file.over(before, over)) != config:
            raise UserError(
                f"run {run}: was begun with other settings; leave them as they were, or name another --run"
            )
        return config
    lake = Lake.open(settings.lake)
    release = recorded(lake, Channel.PRODUCTION)
    if release is None:
        raise UserError("channel production: empty; release the policy to go on from")
    before = upgraded(json.loads(find(lake, release.policy_id)["config"]))
    kept = ("offline", "batch", "network", "critic", "bf16", "chunk", "stride", "gamma", "seed")
    tasks = Snapshot.open(settings.snapshots, before["offline"]).tasks
    value = {
        **{name: before[name] for name in kept},
        **({} if before["stage"] == Stage.SFT else _going_on(before)),
        "run": run,
        "stage": str(Stage.ONLINE),
        "init": before["run"],
        "follow": {"name": run, "sources": [str(Source.ONLINE)], "tasks": tasks},
    }
    return TrainConfig.parse(config_file.over(value, over), where=f"run {run}")


def _going_on(before: Mapping[str, Any]) -> dict[str, Any]:
    """What learned, as it learned, without what began its stage; after imitation the stage's defaults do."""
    learner = before["learner"]
    if learner.get("kind", "lwd") == "lwd":
        learner = {**learner, "policy_start": 0, "reference": {**learner["reference"], "first": 0}}
    return {"n_step": before["n_step"], "learner": learner}


class Publisher:
    """Puts each checkpoint's policy on a channel; doing it again changes nothing.

    A canary that is still on trial is left there: until it is promoted or taken back, newer policies are
    made but not released. ``told`` hears of every release. Policies name the one the run began as for
    their parent.
    """

    def __init__(
        self,
        settings: Settings,
        channel: Channel,
        *,
        now: Callable[[], int] = time.time_ns,
        told: Callable[[Checkpoint, Release], None] = lambda _checkpoint, _release: None,
    ) -> None:
        self._settings, self._channel, self._now, self._told = settings, channel, now, told
        self._lake = Lake.open(settings.lake)
        self._key = signing_key(settings.keys)

    def __call__(self, checkpoint: Checkpoint) -> None:
        """Export, register, publish."""
        parent = parent_of(self._lake, checkpoint)
        bundle = export_policy(checkpoint, self._settings.policies, self._key, parent=parent)
        register(self._lake, bundle, now_ns=self._now())
        if self._channel is Channel.CANARY and standing(self._lake) is not None:
            return
        release = publish(
            self._lake,
            self._settings.releases,
            self._channel,
            policy_id=bundle.policy_id,
            key=self._key,
            evidence={"why": "online learner", "run": checkpoint.about["config"]["run"],
                      "update": checkpoint.about["update"]},
            now_ns=self._now(),
            valid_days=self._settings.release_days,
        )  # fmt: skip
        self._told(checkpoint, release)
