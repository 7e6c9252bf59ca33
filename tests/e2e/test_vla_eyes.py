"""The plumbing of a vision-language-action policy in the world with eyes, from demonstrations to a released
policy that drives robots which are photographed for its plans.

Its backbone of two million numbers is random and has never seen anything, its expert learns for a few
updates: nothing here says how well such a policy acts.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lwd_core.fleet.actor import demonstration_seeds, run_fleet
from lwd_core.fleet.channel import ReleasedPolicies
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.robot import RobotPolicy, RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.keys import signing_key
from lwd_core.policies.registry import register
from lwd_core.policies.release import publish
from lwd_core.rl.vla.checkpoint import VlaFolder
from lwd_core.rl.vla.sizes import PictureSizes, Sizes, StackSizes
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.export import export_policy
from lwd_core.training.run import find_checkpoint, train
from storage_schemas.vocabulary import Channel, Source
from tests.lwd_core.rl.vla.tiny import TOKENS, tiny
from tests.lwd_core.training.test_run import Quiet

pytestmark = pytest.mark.e2e

ROBOT, TASK, SIZE, CHUNK = "sawyer-eyes", "button-press-topdown", 96, 10
TWO_MILLION = Sizes(
    PictureSizes(128, 256, 3, 4, 16, SIZE),
    StackSizes(192, 384, 4, 4, 1, 48),
    StackSizes(64, 128, 4, 4, 1, 48),
    TOKENS,
)
TRAINING = {
    "batch": 4,
    "updates": 3,
    "log_every": 1,
    "checkpoint_every": 100,
    "critic": {
        "hidden": 16,
        "layers": 2,
        "instruction_features": 0,
        "backbone": {"kind": "thumbnails", "height": 24, "width": 24, "stages": [4, 8], "features": 8},
    },
    "learner": {"extraction": {"kind": "qam", "steps": 3}, "reference": {"mode": "frozen", "steps": 3}},
}


@pytest.fixture(scope="module")
def cells() -> Iterator[Workcells]:
    with Workcells(ROBOT) as pool:
        yield pool


def worked(
    settings: Settings, cells: Workcells, day: str, policy: RobotPolicy | None, seeds: tuple[int, ...]
) -> str:
    """A robot's day and its snapshot, whose digest comes back."""
    robots = FleetConfig((RobotSpec("eye", "north", camera_hz=8.0, camera_size=SIZE),), (TASK,), ROBOT)
    source = Source.ROLLOUT if policy else Source.DEMONSTRATION
    run_fleet(settings, robots, day=day, policy=policy, seeds=list(seeds), source=source, cells=cells)
    lake = Lake.open(settings.lake)
    ingest(lake, settings, [settings.landing], embodiments=load_embodiments(settings.embodiments), now_ns=1)
    spec = {"name": "day", "sources": [str(source)], "cameras": ["scene"], "chunk": CHUNK, "frame_age_ms": 0}
    return build_snapshot(lake, SnapshotSpec.parse(spec), settings.snapshots, now_ns=1).digest


def released(settings: Settings, run: str, source: ReleasedPolicies, now_ns: int) -> RobotPolicy:
    """What a robot on the channel gets."""
    checkpoint = find_checkpoint(settings.checkpoints, run)
    bundle = export_policy(checkpoint, settings.policies, signing_key(settings.keys))
    lake = Lake.open(settings.lake)
    register(lake, bundle, now_ns=now_ns)
    publish(
        lake,
        settings.releases,
        Channel.PRODUCTION,
        policy_id=bundle.policy_id,
        key=signing_key(settings.keys),
        evidence={},
        now_ns=now_ns,
    )
    held = source.newest(Channel.PRODUCTION, now_ns)
    assert held is not None
    assert held.policy.policy_id == bundle.policy_id
    return held.policy


def test_a_vla_is_learned_released_and_drives_by_what_it_is_shown(tmp_path: Path, cells: Workcells) -> None:
    settings = Settings(home=str(tmp_path))
    Lake.open(settings.lake, create=True)
    seeds = demonstration_seeds([TASK], "vla", 1, robot=ROBOT, cells=cells)[TASK]
    offline = worked(settings, cells, "2026-02-04", None, seeds)
    folder = tiny(tmp_path / "vla", chunk=CHUNK, state=8, action=4, cameras=("scene",), sizes=TWO_MILLION)
    backbone = sum(p.numel() for p in VlaFolder.open(folder).model().backbone_parameters())
    assert 1.5e6 < backbone < 2.5e6
    field = {
        "kind": "vla",
        "folder": str(folder),
        "cameras": {"scene": "scene"},
        "statistics": "snapshot",
    }
    value = {
        **TRAINING,
        "offline": offline,
        "network": {"instruction_features": 0, "steps": 3, "field": field},
    }

    def learned(name: str, stage: str, **more: str | None) -> None:
        train(TrainConfig.parse({**value, "run": name, "stage": stage, **more}), Quiet(), settings)

    learned("sft", "sft")
    learned("offline", "offline", init="sft")
    source = ReleasedPolicies(settings, pytest.fail)
    policy = released(settings, "offline", source, 10)
    shutil.rmtree(folder)  # what is released stands beside the policies
    rollouts = worked(settings, cells, "2026-02-05", policy, (900_001,))
    seen = Lake.open(settings.lake).sql(
        "SELECT count(*) AS plans, count(*) FILTER (s.frames[1].t_ns = s.t_ns) AS seen FROM steps s "
        "JOIN episodes e USING (episode_id) "
        "WHERE e.source = 'rollout' AND s.step % ? = 0 AND s.step < e.steps",
        (CHUNK,),
    )
    plans, by_sight = (seen[name][0].as_py() for name in ("plans", "seen"))
    assert plans == by_sight > 0
    (base,) = (tmp_path / "policies" / "bases").iterdir()
    value["network"]["field"]["folder"] = str(base)
    learned("online", "online", init="offline", online=rollouts)
    again = released(settings, "online", source, 20)
    worked(settings, cells, "2026-02-06", again, (900_002,))
    assert again.policy_id != policy.policy_id
    assert [p.name for p in (tmp_path / "policies" / "bases").iterdir()] == [base.name]
