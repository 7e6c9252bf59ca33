"""Frames for people: what can't be shown is a card, counted, and fails nothing."""

import io
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg

from lwd_core.exports.export import export
from lwd_core.lake.frames import read_frame
from lwd_core.lake.pictures import Pictures, card, decoded, fitted
from lwd_core.lake.store import Lake
from lwd_core.reports.clip import encode
from lwd_core.reports.episode_page import episode_page
from lwd_core.reports.glimpses import sample_frames
from tests.lwd_core.logs.bombs import huge_jpeg
from tests.lwd_core.recorded import ARM, recorded_lake

SOUND = simplejpeg.encode_jpeg(np.full((48, 64, 3), 120, np.uint8))


def png() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 120, np.uint8), format="rgb24")
        for packet in (*stream.encode(picture), *stream.encode(None)):
            container.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("data", [SOUND, png()], ids=["jpeg", "png"])
def test_pictures_are_decoded(data: bytes) -> None:
    picture = decoded(data)
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    assert abs(int(picture.mean()) - 120) < 3


@pytest.mark.parametrize(
    "data",
    [
        SOUND[: len(SOUND) // 2],
        huge_jpeg(),
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF1234WEBP",
        SOUND[:3],
    ],
    ids=["truncated", "65535", "empty", "text", "png", "webp", "head"],
)
def test_what_is_damaged_is_none(data: bytes) -> None:
    assert decoded(data) is None


def test_a_card_takes_any_size() -> None:
    for shape in ((2, 2), (48, 64), (300, 10)):
        assert fitted(None, *shape).shape == (*shape, 3)
    assert fitted(np.ones((10, 90, 3), np.uint8), 48, 64).shape == (48, 64, 3)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """The first shard's second frame is cut, another shard is gone."""
    lake = recorded_lake(tmp_path / "lake")
    frames = [f for s in lake.read("steps", columns=["frames"])["frames"].to_pylist() for f in s or ()]
    shards = sorted({f["shard"] for f in frames})
    second = sorted({(f["offset"], f["size"]) for f in frames if f["shard"] == shards[0]})[1]
    with open(lake.path(shards[0]), "r+b") as file:
        file.seek(second[0] + second[1] // 2)
        file.write(bytes(second[1] - second[1] // 2))
    Path(lake.path(shards[1])).unlink()
    return lake


def test_pages_and_films_go_on(lake: Lake) -> None:
    assert sample_frames(lake, "day = ?", ("2026-01-01",), episodes=3)
    rows = lake.sql("SELECT episode_id FROM episodes ORDER BY 1")["episode_id"].to_pylist()
    pages = [episode_page(lake, lake.episode(row), ARM) for row in rows]
    assert "6 of them can't be shown" in pages[1]
    assert "can't be shown" not in pages[2]
    mp4 = encode([None, decoded(SOUND), None], 5)  # type: ignore[arg-type]
    with av.open(io.BytesIO(mp4)) as film:
        assert [(f.width, f.height) for f in film.decode(video=0)] == [(64, 48)] * 3


def test_an_export_counts_what_can_not_be_shown(lake: Lake, tmp_path: Path) -> None:
    result = export("lerobot", lake, tmp_path / "set", where="true", embodiments={"arm": ARM})
    assert result.episodes == 3
    assert result.unshown == 52  # as many steps show them
    with av.open(str(next((tmp_path / "set").rglob("*.mp4")))) as film:
        assert sum(1 for _ in film.decode(video=0)) == result.frames
    shutil.rmtree(tmp_path / "set")


def test_bytes_are_as_they_were_or_the_card_s(lake: Lake) -> None:
    frames = [f for s in lake.read("steps", columns=["frames"])["frames"].to_pylist() for f in s or ()]
    pictures = Pictures(lake.place)
    whole, gone = frames[-1], next(f for f in frames if not Path(lake.path(f["shard"])).exists())
    assert pictures.shown(pictures.bytes_of(whole)) == read_frame(lake.place, whole)
    assert pictures.failed == 0
    seen = decoded(pictures.shown(pictures.bytes_of(gone)))
    assert pictures.failed == 1
    assert seen is not None
    assert seen.shape == card().shape
