"""What a learner sees of a fleet is what acted there; what it can't see is not learned from."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from lwd_core.errors import UserError
from lwd_core.fleet.actor import run_fleet
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.supervisor import Supervisor, Unattended
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.image_loader import ImageLoader
from lwd_core.loader.images import LocalFiles
from lwd_core.loader.jpeg import decode_frame
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.shard_reader import samples
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.vocabulary import Source
from tests.lwd_core.fleet.seeing import OWN, TASKS, Looker

ROBOT = "tests.lwd_core.fleet.seeing:SeeingArms"
SPEC = {"name": "seen", "chunk": 5, "cameras": ["top", "side"], "frame_age_ms": 0}
SIZE = 16


class Fleet:
    """A lake, and robots that work for it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=str(home))
        self.lake = Lake.open(self.settings.lake, create=True)
        self.cells, self._days = Workcells(ROBOT), 0

    def day(self, policy, seeds, supervisor=None, **camera) -> None:
        self._days += 1
        robots = (RobotSpec("eye", "north", **camera),)
        run_fleet(
            self.settings,
            FleetConfig(robots, ("reach",), ROBOT),
            day=f"2026-02-{self._days:02d}",
            policy=policy,
            seeds=seeds,
            source=Source.ONLINE if policy else Source.DEMONSTRATION,
            supervisor=supervisor or Unattended(),
            cells=self.cells,
        )
        known = load_embodiments(self.settings.embodiments)
        taken = ingest(
            self.lake, self.settings, [self.settings.landing], embodiments=known, now_ns=self._days
        )
        assert taken.episodes == len(seeds)

    def snapshot(self, **over):
        spec = SnapshotSpec.parse(SPEC | over)
        return build_snapshot(self.lake, spec, self.settings.snapshots, now_ns=1)

    def filmed(self, loader, **over) -> ImageLoader:
        return ImageLoader(loader, self.lake.place, height=SIZE, width=SIZE, following=True, **over)

    @property
    def arm(self):
        with self.cells.borrow(TASKS["reach"]) as cell:
            return cell.robot


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def decoded(jpeg: bytes) -> np.ndarray:
    """As an actor decodes it."""
    out = np.empty((SIZE, SIZE, 3), np.uint8)
    decode_frame(jpeg, out)
    return out


def test_every_chunk_starts_from_the_very_pictures_that_its_plan_was_made_by(fleet: Fleet) -> None:
    policy = Looker(("side", "top"))
    fleet.day(policy, [1, 2])
    plans = {tuple(decoded(s[c]).tobytes() for c in ("top", "side")): 0 for s in policy.shown}
    loader = fleet.filmed(TransitionLoader(fleet.snapshot(), 16, 0))
    for batch in islice(loader, 12):
        assert (batch["frame"] % 5 == 0).all()
        assert batch["image_mask"].all()
        for top, side in batch["image"].numpy():
            plans[top.tobytes(), side.tobytes()] += 1  # a KeyError: nobody acted on this
    assert min(plans.values()) > 0


def test_ages_are_stated_and_older_frames_than_asked_for_start_nothing(fleet: Fleet) -> None:
    fleet.day(Looker(), [3])
    at_plans = fleet.snapshot()
    younger = fleet.snapshot(frame_age_ms=100)  # two ticks of 50 ms
    any_age = fleet.snapshot(frame_age_ms=None)
    frames = []
    for snapshot in (at_plans, younger, any_age):
        batches = islice(TransitionLoader(snapshot, 64, 0), 8)
        frames.append({int(f) % 5 for batch in batches for f in batch["frame"]})
    assert frames == [{0}, {0, 1, 2}, {0, 1, 2, 3, 4}]
    (sample,) = samples(any_age, any_age.episodes)
    assert sample["frame_age"][:6, 0].tolist() == [0, 50_000_000, 100_000_000, 150_000_000, 200_000_000, 0]
    assert "seen" not in sample
    assert list(at_plans.manifest.counts["unseen"]) == [
        f"camera {camera}: a frame older than 0 ms" for camera in ("side", "top")
    ]


def test_a_persons_turn_is_learned_from_as_well(fleet: Fleet) -> None:
    fleet.day(Looker(chunk=5), [3], Supervisor(rate=1, deadline=0.15, patience=30))
    (batch,) = islice(TransitionLoader(fleet.snapshot(), 64, 0), 1)
    begins = {(int(f), bool(h)) for f, h in zip(batch["frame"], batch["human"], strict=True)}
    assert {(0, False), (5, False), (6, True), (11, True)} <= begins


def test_a_lake_is_followed_with_cameras(fleet: Fleet) -> None:
    first, second = Looker(("top", "side")), Looker(("top", "side"))
    fleet.day(first, [1])
    spec = SnapshotSpec.parse(SPEC)
    growing = GrowingLoader(fleet.lake, spec, 16, 5, poll_every=4)
    loader = fleet.filmed(growing)
    batches = list(loader_copies(loader, 4))
    fleet.day(second, [2])
    batches += list(loader_copies(loader, 8))
    shown = (
        {decoded(s["top"]).tobytes() for s in first.shown},
        {decoded(s["top"]).tobytes() for s in second.shown},
    )
    drawn = [{image.tobytes() for image in b["image"][:, 0].numpy()} for b in batches]
    assert set.union(*drawn[:8]) == shown[0]
    assert set.union(*drawn[8:]) == shown[0] | shown[1]
    again = fleet.filmed(GrowingLoader(fleet.lake, spec, 16, 5, poll_every=4))
    again.load_state_dict(loader.state_dict() | {"step": 6})
    for before, after in zip(batches[6:], loader_copies(again, 6), strict=True):
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(loader.batch(2)["image"], batches[2]["image"])


def loader_copies(loader: ImageLoader, count: int):
    """Batches whose images nothing overwrites."""
    return [{name: tensor.clone() for name, tensor in batch.items()} for batch in islice(loader, count)]


def test_a_camera_that_an_embodiment_has_not_is_masked(fleet: Fleet, tmp_path: Path) -> None:
    fleet.day(Looker(), [1])
    snapshot = fleet.snapshot(cameras=["top", "wrist"])
    (batch,) = islice(fleet.filmed(TransitionLoader(snapshot, 8, 0)), 1)
    assert batch["image_mask"].tolist() == batch["next_image_mask"].tolist() == [[True, False]] * 8
    assert not batch["image"][:, 1].any()
    with pytest.raises(UserError, match="embodiment seeing has none of cameras tap, but top, side"):
        fleet.snapshot(cameras=["tap"])


def test_robots_that_were_not_photographed_teach_nothing_by_sight(fleet: Fleet) -> None:
    fleet.day(None, [1])
    with pytest.raises(UserError, match=r"no row shows .*top.*camera side: no frame at \d+ rows"):
        fleet.snapshot()
    fleet.day(None, [2, 3], camera_hz=4.0)
    snapshot = fleet.snapshot()
    members = {m.day for m in snapshot.episodes}
    (batch,) = islice(TransitionLoader(snapshot, 64, 0), 1)
    assert len(members) == 2
    assert {snapshot.episodes[i].day for i in batch["episode"].tolist()} == {"2026-02-02"}
    assert any("no frame" in why for why in snapshot.manifest.counts["unseen"])


def test_pictures_of_two_sizes_are_no_training_set_and_are_not_followed(fleet: Fleet) -> None:
    fleet.day(Looker(), [1])
    offline = fleet.snapshot()
    assert offline.frame_sizes == {"seeing": {"side": (OWN, OWN), "top": (OWN, OWN)}}
    fleet.day(Looker(), [2], camera_size=32)
    with pytest.raises(UserError, match=r"camera top of seeing shows (32x32|24x24) pixels instead of"):
        fleet.snapshot()
    spec = SnapshotSpec.parse(SPEC)
    growing = GrowingLoader(fleet.lake, spec, 16, 5, sizes=offline.frame_sizes)
    (batch,) = islice(growing, 1)
    assert len({growing.episode_ids[e] for e in batch["episode"].tolist()}) == 1
    assert growing.unseen["camera top: 32x32 pixels instead of 24x24"] > 0


def test_a_frame_that_is_cut_off_starts_nothing_and_one_that_is_damaged_later_is_named(fleet: Fleet) -> None:
    fleet.day(Looker(), [1, 2])
    shown = fleet.lake.sql(
        "SELECT frames[1] AS frame FROM steps WHERE step = 5 ORDER BY episode_id"
    ).to_pylist()
    frame = shown[0]["frame"]
    path = Path(fleet.lake.place.path(frame["shard"]))
    whole = path.read_bytes()
    end = frame["offset"] + frame["size"]
    path.write_bytes(whole[: end - 8] + bytes(8) + whole[end:])
    counts = fleet.snapshot().manifest.counts
    assert counts["unseen"][f"camera {frame['camera']}: a JPEG without its end"] > 0
    path.write_bytes(whole)
    snapshot = fleet.snapshot()
    path.write_bytes(whole[: frame["offset"] + 2] + bytes(frame["size"] - 2) + whole[end:])
    with pytest.raises(UserError, match=rf"{frame['shard']}: no JPEG of {frame['size']} bytes"):
        list(islice(fleet.filmed(TransitionLoader(snapshot, 64, 0)), 4))


def test_few_files_are_open_at_a_time(tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / f"{i}").write_bytes(bytes([i]) * 4)
    files = LocalFiles(str(tmp_path), most=3)
    for _ in range(2):
        assert [files.read(f"{i}", 1, 1) for i in range(8)] == [bytes([i]) for i in range(8)]
        assert len(files._open) == 3
    files.close()


def test_a_swapped_pair_of_cameras_is_told_by_name(fleet: Fleet) -> None:
    policy = Looker(("side", "top"))
    fleet.day(policy, [1])
    snapshot = fleet.snapshot()
    straight = fleet.filmed(TransitionLoader(snapshot, 8, 0))
    turned = fleet.filmed(TransitionLoader(snapshot, 8, 0), cameras=["side", "top"])
    assert torch.equal(straight.batch(0)["image"].flip(1), turned.batch(0)["image"])
    assert simplejpeg.decode_jpeg_header(policy.shown[0]["top"])[:2] == (OWN, OWN)
