"""Pictures that show nothing, stand still, glare or are soft: each is told by camera, and nothing else is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
from scipy.ndimage import gaussian_filter

from lwd_core.labels.pictures import CHECKS, PICTURES
from lwd_core.labels.registry import find
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from storage_schemas.tables import STEPS
from tests.lwd_core.labels.conftest import episode_rows

LENGTH, HEIGHT, WIDTH = 30, 96, 128
Spoil = Callable[[int, np.ndarray], "np.ndarray | bytes"]


def scene(moment: int) -> np.ndarray:
    """A table with things on it, and an arm that moves across."""
    rng = np.random.default_rng(3)
    picture = np.full((HEIGHT, WIDTH, 3), (70, 60, 50), np.float32)
    for _ in range(12):
        y, x, size = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH - 20), rng.integers(6, 20)
        picture[y : y + size, x : x + size] = rng.integers(30, 220, 3)
    picture[20:80, 3 * moment : 3 * moment + 8] = 200
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def film(root: Path, spoil: dict[str, Spoil], *, moves: float = 0.05) -> Lake:
    """One episode, whose cameras see the scene as ``spoil`` says; its state moves by so much a step."""
    lake = Lake.open(str(root), create=True)
    rows = []
    with FrameShards(lake.place, "l0000", "north", "2026-01-01") as shards:
        for t in range(LENGTH + 1):
            shown = []
            for camera, change in spoil.items():
                picture = change(t, scene(t))
                data = picture if isinstance(picture, bytes) else simplejpeg.encode_jpeg(picture, quality=90)
                shard, offset, size = shards.put(camera, t, data)
                shown.append({"camera": camera, "shard": shard, "offset": offset, "size": size, "t_ns": t})
            rows.append({
                "episode_id": "e0000", "log_id": "l0000", "site": "north", "day": "2026-01-01", "step": t,
                "t_ns": 10**18 + t * 10**8, "state": [moves * t, 0.0], "action": [0.0] if t < LENGTH else [],
                "actor": "policy", "valid": True, "gap": False, "frames": shown,
            })  # fmt: skip
    lake.append("steps", pa.Table.from_pylist(rows, schema=STEPS.schema))
    (episode,) = episode_rows(1).to_pylist()
    lake.append("episodes", pa.Table.from_pylist([episode | {"steps": LENGTH}], episode_rows(1).schema))
    return lake


def told(lake: Lake) -> dict[str, tuple[str, str | None]]:
    (answer,) = PICTURES.label(lake, lake.read("episodes"), {})
    rows = answer.rows.to_pylist()
    return {row["check"]: (row["text"], row["detail"]) for row in rows}


def plain(_: int, picture: np.ndarray) -> np.ndarray:
    return picture


def dark(_: int, picture: np.ndarray) -> np.ndarray:
    return picture // 20


def soft(_: int, picture: np.ndarray) -> np.ndarray:
    return gaussian_filter(picture, (6, 6, 0))


SPOILT: dict[str, tuple[Spoil, str]] = {
    "defect.black": (dark, "camera left: 100% of its pictures are black"),
    "defect.frozen": (lambda _t, _p: scene(0), "camera left: 100% of its pictures are the one before"),
    "defect.undecodable": (
        lambda t, p: b"\xff\xd8\xff cut" if t == LENGTH else p, "camera left: 1 of 24 pictures"
    ),
    "defect.size": (lambda t, p: p[:48] if t > 20 else p, "camera left: pictures of 48 × 128, 96 × 128"),
    "risk.over_exposed": (
        lambda _, p: np.clip(p.astype(np.int32) * 5, 0, 255).astype(np.uint8), "pictures are over-exposed"
    ),
    "risk.blurred": (soft, "camera left: 100% of its pictures are blurred"),
}  # fmt: skip


def test_good_pictures_pass_all(tmp_path: Path) -> None:
    assert told(film(tmp_path, {"front": plain, "left": plain})) == dict.fromkeys(CHECKS, ("pass", None))


@pytest.mark.parametrize("check", SPOILT)
def test_one_camera_that_sees_badly_is_told(tmp_path: Path, check: str) -> None:
    spoil, said = SPOILT[check]
    found = told(film(tmp_path, {"front": plain, "left": spoil}))
    verdict, detail = found.pop(check)
    assert verdict == "fail"
    assert said in (detail or "")
    assert {verdict for verdict, _ in found.values()} == {"pass"}


def test_a_scene_that_stands_still_with_its_robot_is_not_frozen(tmp_path: Path) -> None:
    found = told(film(tmp_path, {"front": lambda _t, _p: scene(0)}, moves=0.0))
    assert found["defect.frozen"][0] == "unknown"
    assert found["defect.black"][0] == "pass"


def test_a_moment_in_the_dark_is_no_dark_camera(tmp_path: Path) -> None:
    found = told(film(tmp_path, {"front": lambda t, p: dark(t, p) if t == 15 else p}))
    assert found["defect.black"] == ("pass", None)


def test_without_pictures_nothing_is_known(tmp_path: Path) -> None:
    lake = film(tmp_path, {})
    assert told(lake) == dict.fromkeys(CHECKS, ("unknown", "no camera"))
    (tmp_path / "other").mkdir()
    lake = film(tmp_path / "other", {"front": lambda _t, _p: b"nothing"})
    found = told(lake)
    assert found.pop("defect.undecodable")[0] == "fail"
    assert found.pop("defect.size")[0] == "pass"
    assert {verdict for verdict, _ in found.values()} == {"unknown"}
    for shard in (tmp_path / "other").rglob("*.tar"):
        shard.unlink()
    assert told(lake)["defect.undecodable"] == ("fail", "camera front: 24 of 24 pictures looked at are none")


def test_it_is_one_of_the_platforms_own() -> None:
    assert find("pictures") == [PICTURES]
