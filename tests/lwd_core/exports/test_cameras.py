"""Episodes whose cameras differ, and how films are written."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from lwd_core.errors import UserError
from lwd_core.exports.choices import MixedCameras, VideoCodec
from lwd_core.exports.export import ExportResult, Selection, export
from lwd_core.exports.lerobot_video import CameraVideo
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Camera
from storage_schemas.tables import SEGMENTS, STEPS
from tests.lwd_core.labels.conftest import episode_rows
from tests.lwd_core.recorded import ARM

T = 7
#: camera -> (height, width) of each episode
CAMERAS: list[dict[str, tuple[int, int]]] = [
    {"front": (48, 64), "wrist": (32, 32)},
    {"front": (64, 48)},
    {"front": (48, 64), "wrist": (32, 32)},
]
BOTH = "front-64x48+wrist-32x32"


def grey(episode: int, height: int, width: int) -> bytes:
    return simplejpeg.encode_jpeg(np.full((height, width, 3), 100 + 40 * episode, np.uint8), quality=95)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake.open(str(tmp_path_factory.mktemp("mixed") / "lake"), create=True)
    rows = []
    for i, cameras in enumerate(CAMERAS):
        with FrameShards(lake.place, f"l{i:04d}", "north", "2026-01-01") as shards:
            for t in range(T + 1):
                frames = []
                for camera, size in cameras.items():
                    t_ns = 10**18 + t * 10**8
                    shard, offset, n = shards.put(camera, t_ns, grey(i, *size))
                    frames.append(
                        {"camera": camera, "shard": shard, "offset": offset, "size": n, "t_ns": t_ns}
                    )
                of = {"episode_id": f"e{i:04d}", "log_id": f"l{i:04d}", "site": "north", "day": "2026-01-01"}
                rows.append(
                    of
                    | {
                        "step": t,
                        "t_ns": 10**18 + t * 10**8,
                        "state": [0.0, i, t],
                        "action": [0.0, 0.5] if t < T else [],
                        "actor": "human" if i == 1 and 2 <= t < 5 else "policy",
                        "valid": True,
                        "gap": False,
                        "frames": frames,
                    }
                )
    taken_over = {
        "segment": 1,
        "kind": "intervention",
        "first_step": 2,
        "last_step": 4,
        "start_ns": 1,
        "end_ns": 2,
        "actor": "human",
        "who": "mira",
        "reason": "no_progress",
    }
    of = {"episode_id": "e0001", "log_id": "l0001", "site": "north", "day": "2026-01-01"}
    lake.append("steps", pa.Table.from_pylist(rows, schema=STEPS.schema))
    lake.append("segments", pa.Table.from_pylist([of | taken_over], schema=SEGMENTS.schema))
    facts = [row | {"steps": T} for row in episode_rows(3).to_pylist()]
    lake.append("episodes", pa.Table.from_pylist(facts, schema=episode_rows(1).schema))
    return lake


TWO = replace(ARM, cameras=(Camera("front", "/front"), Camera("wrist", "/wrist")))


def written(lake: Lake, out: Path, **chosen) -> ExportResult:
    return export("lerobot", lake, out, embodiments={"arm": TWO}, **chosen)


def film(folder: Path, camera: str) -> tuple[str, list[av.VideoFrame]]:
    with av.open(str(folder / f"videos/observation.images.{camera}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, list(container.decode(stream))


def rows(folder: Path) -> list[dict]:
    return pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()


def test_they_are_refused_with_both_remedies(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"e0001: camera wrist is in some.* --cameras pad or group"):
        written(lake, tmp_path / "set")
    video = CameraVideo(tmp_path / "front", 10, 2**20)
    video.add_episode([grey(0, 48, 64)], 1)
    with pytest.raises(
        UserError, match=r"front: a frame of 48×64 among 64×48; choose --cameras pad or group"
    ):
        video.add_episode([grey(0, 64, 48)], 1)
    padded = CameraVideo(tmp_path / "wrist", 10, 2**20, size=(48, 64))
    with pytest.raises(UserError, match=r"wrist: a frame of 48×64 among 64×48; leave its episode out"):
        padded.add_episode([grey(0, 64, 48)], 1)
    video.close()
    padded.close()


def test_one_set_with_black_where_nothing_was_seen(lake: Lake, tmp_path: Path) -> None:
    done = written(lake, tmp_path / "set", mixed=MixedCameras.PAD)
    assert (done.episodes, done.cameras) == (3, ("front", "wrist"))
    features = json.loads((done.folder / "meta/info.json").read_text())["features"]
    assert features["observation.images.front"]["shape"] == [64, 64, 3]
    assert features["observation.images.wrist"]["shape"] == [32, 32, 3]
    data = pq.read_table(done.folder / "data/chunk-000/file-000.parquet")
    assert data["present.wrist"].to_pylist() == [True] * T + [False] * T + [True] * T
    assert all(data["present.front"].to_pylist())
    _, wrist = film(done.folder, "wrist")
    assert [round(f.to_ndarray(format="rgb24").mean() / 10) for f in wrist] == [10] * T + [0] * T + [18] * T
    _, front = film(done.folder, "front")
    tall = front[T].to_ndarray(format="rgb24").astype(int)
    assert abs(tall[:, :44].mean() - 140) < 3  # nothing of it is cut off
    assert tall[:, 52:].mean() < 3
    found = rows(done.folder)
    assert found[1]["stats/observation.images.wrist/max"] == [[[0.0]], [[0.0]], [[0.0]]]
    stats = json.loads((done.folder / "meta/stats.json").read_text())["observation.images.wrist"]
    assert stats["min"][0][0][0] > 0.3  # black is no picture of a camera


def test_a_set_for_each_kind(lake: Lake, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = written(
        lake, tmp_path / "sets", mixed=MixedCameras.GROUP, progress=lambda i, n: told.append((i, n))
    )
    assert sorted(path.name for path in done.folder.iterdir()) == ["front-48x64", BOTH]
    assert done.cameras == ("front", "wrist")
    assert [row["lwd/episode_id"] for row in rows(done.folder / BOTH)] == ["e0000", "e0002"]
    assert [row["lwd/episode_id"] for row in rows(done.folder / "front-48x64")] == ["e0001"]
    info = json.loads((done.folder / "front-48x64/meta/info.json").read_text())
    assert info["features"]["observation.images.front"]["shape"] == [64, 48, 3]
    assert "present.front" not in info["features"]
    assert sorted(told) == [(1, 3), (2, 3), (3, 3)]


def test_episodes_of_one_kind_are_one_set_however_asked(lake: Lake, tmp_path: Path) -> None:
    for mixed in MixedCameras:
        done = written(lake, tmp_path / mixed, where="episode_id <> 'e0001'", mixed=mixed)
        assert (done.folder / "meta/info.json").is_file()


def test_av1_is_cuttable_too(lake: Lake, tmp_path: Path) -> None:
    done = written(lake, tmp_path / "set", where="episode_id <> 'e0001'", codec=VideoCodec.AV1)
    codec, frames = film(done.folder, "front")
    assert "dav1d" in codec or "av1" in codec
    assert [round(float(f.time) * 10, 6) for f in frames] == list(range(2 * T))
    assert frames[0].key_frame
    assert frames[T].key_frame
    assert [round(f.to_ndarray(format="rgb24").mean() / 10) for f in frames] == [10] * T + [18] * T
    info = json.loads((done.folder / "meta/info.json").read_text())
    assert info["features"]["observation.images.front"]["info"]["video.codec"] == "av1"


def test_when_people_took_over_stands_with_each_episode(lake: Lake, tmp_path: Path) -> None:
    done = written(lake, tmp_path / "set", videos=False)
    found = rows(done.folder)
    assert [row["lwd/intervention_from"] for row in found] == [[], [2], []]
    assert (found[1]["lwd/intervention_to"], found[1]["lwd/intervention_who"]) == ([5], ["mira"])
    assert found[1]["lwd/intervention_reason"] == ["no_progress"]
    assert [row["lwd/outcome"] for row in found] == ["success", "failure", "unknown"]
    none = written(lake, tmp_path / "none", videos=False, where="episode_id <> 'e0001'")
    schemas = [
        pq.read_schema(d.folder / "meta/episodes/chunk-000/file-000.parquet").remove_metadata()
        for d in (done, none)
    ]
    assert schemas[0].field("lwd/intervention_who") == schemas[1].field("lwd/intervention_who")


def test_a_selection_knows_kinds_without_frames(lake: Lake) -> None:
    selected = Selection(lake, lake.read("episodes", where="true ORDER BY episode_id"), {}, videos=False)
    assert list(selected.groups()) == [()]
