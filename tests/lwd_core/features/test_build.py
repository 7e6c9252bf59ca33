"""A layer of features: made once, kept beside the frames, read by anyone, refused where it is another's."""

import hashlib
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.features import build
from lwd_core.features.build import build_features, sweep
from lwd_core.features.extractor import FeatureExtractor
from lwd_core.features.files import layers, path_of, read_into
from lwd_core.features.table import FeatureTable
from lwd_core.lake.frames import read_frame
from lwd_core.lake.store import Lake
from lwd_core.loader.images import FrameIndex
from lwd_core.loader.jpeg import decode_frame
from lwd_core.training.values import unseen
from storage_schemas.features import DIGEST, FOLDER
from storage_schemas.tables import STEPS
from tests.lwd_core.features.tiny import tiny
from tests.lwd_core.recorded import recorded_lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return recorded_lake(tmp_path / "lake")


def shown(lake: Lake, where: str = "true") -> list[dict]:
    """Frames of the lake's steps, in order."""
    rows = lake.read("steps", columns=["frames"], where=f"{where} ORDER BY episode_id, step")
    return [frame for row in rows["frames"].to_pylist() for frame in row or ()]


def by_hand(lake: Lake, extractor: FeatureExtractor, frame: dict) -> np.ndarray:
    picture = np.empty((1, *extractor.size, 3), np.uint8)
    decode_frame(read_frame(lake.place, frame), picture[0])
    return extractor(picture)[0]


def spoil(lake: Lake, frame: dict) -> None:
    """Other bytes in a frame's place."""
    path = Path(lake.path(frame["shard"]))
    data = bytearray(path.read_bytes())
    data[frame["offset"] : frame["offset"] + frame["size"]] = b"x" * frame["size"]
    path.write_bytes(data)


def test_every_frame_is_looked_at_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor, frames, looked = tiny(), shown(lake), list[int]()
    call = FeatureExtractor.__call__
    monkeypatch.setattr(
        FeatureExtractor, "__call__", lambda self, some: (looked.append(len(some)), call(self, some))[1]
    )
    monkeypatch.setattr(build, "AT_ONCE", 16)
    first = build_features(lake, extractor, where="episode_id = ?", params=["e0001"])
    assert (first.frames, first.before, first.faults) == (25, 0, ())
    rest = build_features(lake, extractor, workers=2)
    assert (rest.frames, rest.before) == (len(frames) - 25, 25)
    assert sum(looked) <= len(frames)  # equal ones among a portion are looked at once
    looked.clear()
    again = build_features(lake, extractor)
    assert (again.frames, again.before, looked) == (0, len(frames), [])
    for frame in frames[::7]:
        out = np.empty((1, extractor.width), np.float16)
        read_into(lake.place, extractor.layer, frame["shard"], np.array([frame["offset"]]), out)
        assert np.array_equal(out[0], by_hand(lake, extractor, frame))


def test_a_file_gains_the_frames_it_lacks(lake: Lake) -> None:
    extractor, (frame, *_) = tiny(), shown(lake)
    some = lake.read("steps", where="episode_id = 'e0000'")
    few = some.set_column(
        some.column_names.index("frames"),
        STEPS.schema.field("frames"),
        pa.array([f if i < 11 else None for i, f in enumerate(some["frames"].to_pylist())],
                 STEPS.schema.field("frames").type),
    )  # fmt: skip
    lake.replace("steps", few, {"episode_id": ["e0000"]})
    assert build_features(lake, extractor, where="episode_id = 'e0000'").frames == 5
    lake.replace("steps", some, {"episode_id": ["e0000"]})
    assert build_features(lake, extractor, where="episode_id = 'e0000'").frames == 15
    table = pq.read_table(lake.path(extractor.layer.path(frame["shard"])))
    assert table.num_rows == len(set(table["offset"].to_pylist())) == 20


def test_any_reader_opens_it(lake: Lake) -> None:
    extractor = tiny()
    build_features(lake, extractor)
    frames = shown(lake)
    found = duckdb.sql(
        f"SELECT \"offset\", frame, features FROM '{lake.path(FOLDER)}/*/*/*/l0000*.parquet' ORDER BY 1"
    ).fetchall()
    own = [f for f in frames if "l0000" in f["shard"]]
    assert [row[0] for row in found] == [f["offset"] for f in own]
    assert found[3][1] == hashlib.sha256(read_frame(lake.place, own[3])).digest()
    assert np.array_equal(np.float16(found[3][2]), by_hand(lake, extractor, own[3]))
    schema = pq.read_schema(lake.path(extractor.layer.path(own[0]["shard"])))
    assert schema.metadata[DIGEST.encode()].decode() == extractor.digest
    assert schema.field("frame").metadata[b"meaning"] == b"SHA-256 of the frame's bytes."


def test_another_backbone_size_or_setting_is_another_layer(lake: Lake) -> None:
    some = [tiny(), tiny(seed=1), tiny(height=48)]
    assert len({one.digest for one in some}) == 3
    for one in some:
        build_features(lake, one, where="episode_id = 'e0000'")
    assert layers(lake.place) == sorted(one.layer.name for one in some)


def test_features_of_another_backbone_are_refused(lake: Lake) -> None:
    ours, other, (frame, *_) = tiny(), tiny(seed=1), shown(lake)
    build_features(lake, other)
    out = np.empty((1, ours.width), np.float16)
    with pytest.raises(UserError, match=rf"1 of 1 frames have no features of {ours.layer.name} \(there are "
                       rf"features of {other.layer.name}.*make them with `lwd features build"):  # fmt: skip
        read_into(lake.place, ours.layer, frame["shard"], np.array([frame["offset"]]), out)
    wrong = Path(lake.path(path_of(ours.layer.name, frame["shard"])))
    wrong.parent.mkdir(parents=True)
    Path(lake.path(path_of(other.layer.name, frame["shard"]))).rename(wrong)
    with pytest.raises(UserError, match=rf"{wrong}: features of another backbone .{DIGEST}.*delete it"):
        read_into(lake.place, ours.layer, frame["shard"], np.array([frame["offset"]]), out)
    with pytest.raises(UserError, match="features of another backbone"):
        build_features(lake, ours)
    wrong.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="no file of features"):
        build_features(lake, ours)


def test_a_frame_that_is_no_picture_is_named_and_never_served(lake: Lake) -> None:
    extractor, frames = tiny(), shown(lake)
    spoil(lake, frames[2])
    done = build_features(lake, extractor)
    assert len(done.faults) == 1
    assert f"{frames[2]['shard']}: no features of the frame at byte {frames[2]['offset']}" in done.faults[0]
    offsets = np.array([f["offset"] for f in frames[:5]])
    out = np.empty((5, extractor.width), np.float16)
    read_into(lake.place, extractor.layer, frames[0]["shard"], offsets, out)
    assert np.isnan(out[2]).all()
    assert np.isfinite(np.delete(out, 2, axis=0)).all()
    (told,) = duckdb.sql(
        f"SELECT fault FROM '{lake.path(extractor.layer.path(frames[0]['shard']))}' WHERE features IS NULL"
    ).fetchall()
    assert told[0].startswith("no JPEG of")


def test_a_frame_that_was_restored_gets_its_features(lake: Lake) -> None:
    extractor, frame = tiny(), shown(lake)[2]
    path, out = Path(lake.path(frame["shard"])), np.empty((1, extractor.width), np.float16)
    sound = path.read_bytes()
    spoil(lake, frame)
    for _ in range(2):  # it is said again until it is mended
        assert len(build_features(lake, extractor).faults) == 1
    path.write_bytes(sound)
    done = build_features(lake, extractor)
    assert (done.frames, done.faults) == (1, ())
    table = pq.read_table(lake.path(extractor.layer.path(frame["shard"])))
    assert table.num_rows == len(set(table["offset"].to_pylist()))
    read_into(lake.place, extractor.layer, frame["shard"], np.array([frame["offset"]]), out)
    assert np.array_equal(out[0], by_hand(lake, extractor, frame))


def test_a_shard_that_is_cut_off_says_so_and_is_looked_at_again(lake: Lake) -> None:
    extractor, frame = tiny(), shown(lake)[4]
    path = Path(lake.path(frame["shard"]))
    sound = path.read_bytes()
    path.write_bytes(sound[: frame["offset"] + 5])
    done = build_features(lake, extractor)
    assert len(done.faults) == 1
    assert f"{frame['shard']}: cut off at byte {frame['offset'] + 5}" in done.faults[0]
    table = pq.read_table(lake.path(extractor.layer.path(frame["shard"])))
    assert table["fault"].null_count == table.num_rows == 4
    path.write_bytes(sound)
    assert not build_features(lake, extractor).faults
    assert build_features(lake, extractor).frames == 0


def test_a_damaged_file_of_features_is_named(lake: Lake) -> None:
    extractor, frame = tiny(), shown(lake)[0]
    build_features(lake, extractor)
    path = Path(lake.path(extractor.layer.path(frame["shard"])))
    sound = path.read_bytes()
    for damaged in (sound[:50], sound[:4] + b"x" * 200 + sound[204:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=f"{path}: no file of features.*delete it and run"):
            build_features(lake, extractor)


def test_an_episode_that_shows_nothing_is_seen_by_nobody(lake: Lake) -> None:
    none = np.full((3, 1), -1, np.int64)
    index = FrameIndex(("front",), (), np.zeros(1, np.int64), none, none, none)
    rows = np.arange(3)
    features, there = FeatureTable(lake.place, tiny()).shown(index).at(np.zeros_like(rows), rows)
    assert features.shape == (3, 1, tiny().width)
    assert not there.any()
    assert unseen(torch.from_numpy(there)).all()
    assert unseen(torch.tensor([[False, False], [True, False]])).tolist() == [True, False]


def test_a_shard_that_is_missing_is_named(lake: Lake) -> None:
    frame = shown(lake)[0]
    Path(lake.path(frame["shard"])).unlink()
    done = build_features(lake, tiny())
    assert done.frames == 25 + 30
    assert f"{frame['shard']}: this frame shard is missing" in done.faults[0]


def test_what_was_erased_while_it_was_looked_at_does_not_come_back(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, frame = tiny(), shown(lake)[0]
    call = FeatureExtractor.__call__

    def look(self: FeatureExtractor, pictures: np.ndarray) -> np.ndarray:
        lake.tombstones.bury([frame["shard"]], {})
        return call(self, pictures)

    monkeypatch.setattr(FeatureExtractor, "__call__", look)
    build_features(lake, extractor, where="episode_id = 'e0000'")
    assert not lake.place.exists(extractor.layer.path(frame["shard"]))


def test_files_of_shards_that_are_gone_are_swept(lake: Lake) -> None:
    extractor, frame = tiny(), shown(lake)[0]
    build_features(lake, extractor)
    assert sweep(lake, extractor.layer.name) == 0
    Path(lake.path(frame["shard"])).unlink()
    assert sweep(lake, extractor.layer.name) == 1
    assert not lake.place.exists(extractor.layer.path(frame["shard"]))
