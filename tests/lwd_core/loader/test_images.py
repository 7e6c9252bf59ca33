import io
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.image_loader import ImageLoader
from lwd_core.loader.mixed import MixedLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.snapshots.verify import verify
from storage_schemas.tables import TABLES
from tests.lwd_core.snapshots.lakes import START, add_episode

SHARD = "frames/2026-01-01/lab/log.tar"


def brightness(episode: int, step: int, camera: str) -> int:
    return 40 * episode + 10 * step + (5 if camera == "wrist" else 0)


@pytest.fixture
def filmed(lake: Lake) -> Lake:
    """Two episodes of six rows; the front camera shows every tick, the wrist camera every second."""
    tar, rows = io.BytesIO(), []
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for number in (1, 2):
            identity = add_episode(lake, number, 5, seed=number)
            steps = lake.read("steps", where=f"episode_id = '{identity}' ORDER BY step").to_pylist()
            for row in steps:
                row["frames"] = []
                for camera in ("front", "wrist"):
                    if camera == "wrist" and row["step"] % 2:
                        continue
                    shape = (32, 48, 3) if camera == "front" else (64, 96, 3)
                    grey = np.full(shape, brightness(number, row["step"], camera), np.uint8)
                    data = simplejpeg.encode_jpeg(grey, quality=95)
                    info = tarfile.TarInfo(f"{identity}-{row['step']}.{camera}.jpg")
                    info.size = len(data)
                    offset = tar.tell() + 512
                    archive.addfile(info, io.BytesIO(data))
                    row["frames"].append(
                        {"camera": camera, "shard": SHARD, "offset": offset, "size": len(data), "t_ns": 1}
                    )
            rows += steps
    with lake.place.write(SHARD) as stream:
        stream.write(tar.getvalue())
    ids = sorted({r["episode_id"] for r in rows})
    lake.replace("steps", pa.Table.from_pylist(rows, TABLES["steps"].schema), {"episode_id": ids})
    return lake


def loader(lake: Lake, root: Path) -> TransitionLoader:
    spec = SnapshotSpec.parse({"name": "film", "cameras": ["front", "wrist"], "chunk": 2})
    return TransitionLoader(build_snapshot(lake, spec, str(root), now_ns=START), 12, 3)


@pytest.mark.parametrize("threads", [0, 2])
def test_images_are_those_of_the_sample(filmed: Lake, tmp_path: Path, threads: int):
    images = ImageLoader(
        loader(filmed, tmp_path / "s"), filmed.place, height=32, width=48, following=True, threads=threads
    )
    for batch in islice(images, 5):
        assert batch["image"].shape == (12, 2, 32, 48, 3)
        for i in range(12):
            number = int(batch["state"][i, 0])
            for name, frame in (("image", batch["frame"][i]), ("next_image", batch["next_frame"][i])):
                for c, camera in enumerate(("front", "wrist")):
                    step = int(frame) // 2 * 2 if camera == "wrist" else int(frame)
                    found = batch[name][i, c].float().mean()
                    assert found == pytest.approx(brightness(number, step, camera), abs=2)
    images.close()


def test_buffers_are_used_again(filmed: Lake, tmp_path: Path):
    images = ImageLoader(loader(filmed, tmp_path / "s"), filmed.place, height=32, width=48, buffers=2)
    places = [b["image"].data_ptr() for b in islice(images, 4)]
    assert places[0] == places[2] != places[1] == places[3]


def test_cameras_are_chosen_and_any_batch_is_made_again(filmed: Lake, tmp_path: Path):
    drawn = loader(filmed, tmp_path / "s")
    both = ImageLoader(drawn, filmed.place, height=32, width=48)
    turned = ImageLoader(drawn, filmed.place, height=32, width=48, cameras=["wrist", "front"])
    first = both.batch(0)
    assert (turned.batch(0)["image"] == first["image"].flip(1)).all()
    assert (next(iter(both))["image"] == first["image"]).all()
    with pytest.raises(UserError, match="no side, only front, wrist"):
        ImageLoader(drawn, filmed.place, height=32, width=48, cameras=["side"])


def test_offline_and_online_frames_mix(filmed: Lake, tmp_path: Path):
    parts = [ImageLoader(loader(filmed, tmp_path / "s"), filmed.place, height=32, width=48) for _ in "ab"]
    mixed = MixedLoader(*parts)
    batch = next(iter(mixed))
    assert batch["image"].shape == (24, 2, 32, 48, 3)
    assert mixed.step == 1
    again = MixedLoader(*parts)
    again.load_state_dict(mixed.state_dict())
    assert again.step == 1


def test_the_manifest_pins_the_frame_shards(filmed: Lake, tmp_path: Path):
    snapshot = loader(filmed, tmp_path / "s").snapshot
    (shard,) = snapshot.manifest.frame_shards
    data = filmed.place.read(SHARD)
    assert (shard.uri, shard.bytes) == (SHARD, len(data))
    root, digest = str(tmp_path / "s"), loader(filmed, tmp_path / "s").snapshot.digest
    assert verify(root, digest, filmed.place) == []
    with filmed.place.write(SHARD) as stream:
        stream.write(data[:-1] + b"x")
    assert verify(root, digest, filmed.place) == [f"{SHARD} has other bytes than when the snapshot was built"]
    filmed.place.remove(SHARD)
    assert verify(root, digest, filmed.place) == [f"{SHARD} is missing from the lake"]


def test_missing_frames_are_named(filmed: Lake, tmp_path: Path):
    drawn = loader(filmed, tmp_path / "s")
    filmed.place.remove(SHARD)
    with pytest.raises(UserError, match=f"{SHARD}: this frame shard is missing"):
        next(iter(ImageLoader(drawn, filmed.place, height=32, width=48)))
    blind = build_snapshot(filmed, SnapshotSpec(name="x"), str(tmp_path / "s"), now_ns=START)
    with pytest.raises(UserError, match="built without cameras"):
        ImageLoader(TransitionLoader(blind, 4, 0), filmed.place, height=8, width=8)
