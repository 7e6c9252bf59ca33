"""LWD in Python: ``import lwd_core as lwd``.

    lake = lwd.open("lwd-data")
    lake.sql("SELECT task, count(*) FROM episodes GROUP BY 1").to_pandas()
    lake.episode("5f9d").frames("front")[0].rgb
    for batch in lake.snapshot({"name": "mine", "outcomes": ["success"]}).loader(batch=256): ...

The names below are the documented API; everything deeper may change. None is imported before it is used.
"""

from typing import TYPE_CHECKING

from lwd_core.lazy import lazily

if TYPE_CHECKING:
    from lwd_core.errors import UserError
    from lwd_core.fleet.recorder import Recorder
    from lwd_core.fleet.robot import RobotSpec
    from lwd_core.home.home import Home
    from lwd_core.home.logs import draft_embodiment, read_log
    from lwd_core.home.opening import open
    from lwd_core.labels.function import check, label
    from lwd_core.labels.said import Finding, Said
    from lwd_core.lake.episode import Episode, Frame
    from lwd_core.loader.growing import GrowingLoader
    from lwd_core.loader.mixed import MixedLoader
    from lwd_core.loader.training_set import TrainingSet as Snapshot
    from lwd_core.policies.inference import Policy, load_policy
    from lwd_core.policies.intervals import difference, wilson
    from lwd_core.snapshots.spec import SnapshotSpec
    from lwd_core.training.config import TrainConfig

__all__ = [
    "Episode",
    "Finding",
    "Frame",
    "GrowingLoader",
    "Home",
    "MixedLoader",
    "Policy",
    "Recorder",
    "RobotSpec",
    "Said",
    "Snapshot",
    "SnapshotSpec",
    "TrainConfig",
    "UserError",
    "check",
    "difference",
    "draft_embodiment",
    "label",
    "load_policy",
    "open",
    "read_log",
    "wilson",
]

_WHERE = {
    "Episode": "lake.episode:Episode",
    "Finding": "labels.said:Finding",
    "Frame": "lake.episode:Frame",
    "GrowingLoader": "loader.growing:GrowingLoader",
    "Home": "home.home:Home",
    "MixedLoader": "loader.mixed:MixedLoader",
    "Policy": "policies.inference:Policy",
    "Recorder": "fleet.recorder:Recorder",
    "RobotSpec": "fleet.robot:RobotSpec",
    "Said": "labels.said:Said",
    "Snapshot": "loader.training_set:TrainingSet",
    "SnapshotSpec": "snapshots.spec:SnapshotSpec",
    "TrainConfig": "training.config:TrainConfig",
    "UserError": "errors:UserError",
    "check": "labels.function:check",
    "difference": "policies.intervals:difference",
    "draft_embodiment": "home.logs:draft_embodiment",
    "label": "labels.function:label",
    "load_policy": "policies.inference:load_policy",
    "open": "home.opening:open",
    "read_log": "home.logs:read_log",
    "wilson": "policies.intervals:wilson",
}


__getattr__, __dir__ = lazily(__name__, _WHERE)
