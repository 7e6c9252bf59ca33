"""Films with values below, and what a policy hangs on: that which is there, and nothing else."""

import io
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from lwd_core.lake.store import Lake
from lwd_core.policies.inference import Policy
from lwd_core.reports.findings import ValueCurve
from lwd_core.reports.looked import PARTS, glances, looked_at, moved
from lwd_core.reports.watched import valued_clips
from tests.lwd_core.recorded import recorded_lake


class LooksAtACorner:
    """Plans by how bright the lower right of the picture is."""

    cameras = ("front",)

    def act(self, states: Any, instructions: Any, generator: Any, frames: Any, embodiment: str) -> np.ndarray:
        picture = frames["front"]
        height, width = picture.shape[:2]
        return np.full((2, 1), picture[-height // PARTS :, -width // PARTS :].mean() / 255, np.float32)


POLICY = cast(Policy, LooksAtACorner())


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return recorded_lake(Path(tmp_path_factory.mktemp("watched")))


def curve(lake: Lake, outcome: str = "failure", values: tuple[float, ...] = (0.9, 0.1)) -> ValueCurve:
    (row,) = lake.sql(
        "SELECT episode_id, max(step) AS last FROM steps WHERE len(frames) > 0 GROUP BY 1 ORDER BY 1 LIMIT 1"
    ).to_pylist()
    steps = (0, row["last"])
    return ValueCurve(row["episode_id"], "reach", outcome, "value.x@1", steps, values, ((2, 3),))


def test_a_film_shows_each_frame_once_and_where_it_is_on_the_curve(lake: Lake) -> None:
    (film,) = valued_clips(
        lake, [curve(lake), ValueCurve("none", "reach", "success", "v", (0, 1), (0, 1), ())]
    )
    assert (film.low, film.high, film.unshown) == (0.0, 0.9, 0)
    count = lake.sql(
        "SELECT count(DISTINCT frames[1]) AS n FROM steps WHERE episode_id = ?", (film.curve.episode_id,)
    )["n"][0].as_py()
    with av.open(io.BytesIO(film.mp4)) as container:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert len(shown) == min(count, 60)
    strips = [frame[-90:] for frame in shown]
    red = [(strip[..., 0] - strip[..., 1] > 40).any(0).nonzero()[0].mean() for strip in strips]
    assert red == sorted(red)
    assert red[0] < 20
    assert red[-1] > strips[0].shape[1] / 2
    ink = (strips[-1].sum(-1) < 250).nonzero()  # the curve falls
    assert ink[0][ink[1] < 20].mean() < ink[0][ink[1] > strips[0].shape[1] // 2].mean()


def test_no_film_without_a_camera(lake: Lake) -> None:
    assert valued_clips(lake, []) == ()
    assert valued_clips(lake, [ValueCurve("none", "reach", "failure", "v", (0, 1), (0, 1), ())]) == ()


def test_a_plan_hangs_on_what_it_is_made_from() -> None:
    picture = np.full((64, 80, 3), 40, np.uint8)
    picture[-8:, -10:] = 250
    found = moved(POLICY, np.zeros(3), "go", {"front": picture}, "front")
    assert found[-1, -1] > 0.5
    assert np.count_nonzero(found) == 1


def test_moments_are_looked_through(lake: Lake) -> None:
    seen = glances(lake, POLICY, [curve(lake).episode_id], each=3)
    assert len(seen) == 3
    assert [glance.step for glance in seen] == sorted({glance.step for glance in seen})
    assert looked_at(seen).startswith(b"\x89PNG")
    assert glances(lake, POLICY, ["none"]) == []
