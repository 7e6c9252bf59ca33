"""The fleet's page from a small lake: every rate is the lake's, the page stands alone, films play."""

import io
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
import simplejpeg

from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from lwd_core.policies.intervals import wilson
from lwd_core.reports.clip import clips, encode
from lwd_core.reports.findings import ValueCurve
from lwd_core.reports.fleet import OTHERS, collect_fleet, steepest
from lwd_core.reports.fleet_page import render_fleet, write_fleet_page
from lwd_core.settings import Settings
from storage_schemas.tables import TABLES
from tests.lwd_core.snapshots.lakes import START, add_episode, episode_id

HOUR = 3600 * 10**9


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path))


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """Policy a succeeds in 10 of 40, with help in 20; b in 30 of 40 unaided; c to g once each."""
    lake = Lake.open(settings.lake, create=True)
    plan = [("a", i < 10, int(i < 20)) for i in range(40)] + [("b", i >= 10, 0) for i in range(40)]
    plan += [(name, True, 0) for name in "cdefg"]
    for i, (policy, success, helped) in enumerate(plan):
        add_episode(
            lake, i, 3, policy_id=policy, outcome="success" if success else "failure", interventions=helped,
            source="online", robot_id=f"r{i % 2}", start_ns=START + i * HOUR,
        )  # fmt: skip
    add_episode(lake, "demo", 3, source="demonstration", robot_id="r9", task="taught")
    return lake


def curve(values: list[float], steps: list[int] | None = None) -> ValueCurve:
    return ValueCurve(
        "e", "push", "failure", "value.x@1", tuple(steps or range(len(values))), tuple(values), ()
    )


def test_rates_are_the_lakes(lake: Lake) -> None:
    found = collect_fleet(lake, {"production": "b", "canary": "c"})
    assert [r.robot_id for r in found.robots] == ["r0", "r1"]
    assert sum(r.episodes for r in found.robots) == 85
    by_id = {p.policy_id: p for p in found.policies}
    assert list(by_id) == list("abcdefg")
    assert by_id["a"].success == wilson(10, 40)
    assert by_id["a"].intervened == wilson(20, 40)
    assert [by_id[p].channels for p in "abc"] == [(), ("production",), ("canary",)]
    assert list(found.rates) == ["reach"]
    lines = found.rates["reach"]
    assert OTHERS in lines
    assert sum(point.success.trials for point in lines["a"]) == 40
    assert [point.success.rate for point in lines["a"]] == [1, 0, 0, 0]
    assert [point.intervened.rate for point in lines["a"]] == [1, 1, 0, 0]
    assert [p.place for p in lines["b"]] == sorted(p.place for p in lines["b"])


def test_the_moment_value_fell() -> None:
    fall = steepest(curve([0.2, 0.5, 0.9, 0.9, 0.3, 0.4, 0.1]), window=2)
    assert fall is not None
    assert (fall.curve.steps[fall.first], fall.curve.steps[fall.last]) == (2, 4)
    assert fall.depth == pytest.approx(0.6)
    # a slow decline over more than the window is not taken for a fall of its whole depth
    slow = steepest(curve([1.0, 0.9, 0.8, 0.7, 0.6]), window=2)
    assert slow is not None
    assert slow.depth == pytest.approx(0.2)
    assert steepest(curve([0.1, 0.2, 0.3])) is None
    # labels need not be at every tick
    sparse = steepest(curve([1.0, 0.5, 0.0], [0, 10, 20]), window=10)
    assert sparse is not None
    assert sparse.depth == pytest.approx(0.5)


def test_the_page_stands_alone(lake: Lake, settings: Settings) -> None:
    rows = [
        dict.fromkeys(TABLES["labels"].names)
        | {"layer_id": "value.x@1", "kind": "progress", "episode_id": episode_id(84), "log_id": "l",
           "site": "lab", "day": "2026-01-01", "step": step, "value": value, "created_ns": 1}
        for step, value in enumerate((0.9, 0.2, 0.3))
    ]  # fmt: skip
    lake.append("labels", pa.Table.from_pylist(rows, TABLES["labels"].schema))
    written = Path(write_fleet_page(lake, settings, settings.reports, now_ns=START))
    page = written.read_text()
    assert page.count("data:image/png;base64,iVBOR") == 3
    assert "25 % <code>[14, 40]</code>" in page  # Wilson, 10 of 40
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<video" not in page


def test_an_empty_lake_has_a_page(settings: Settings) -> None:
    found = collect_fleet(Lake.open(settings.lake, create=True), {})
    assert "no policy has run yet" in render_fleet(found, (), now_ns=0)


def test_what_needs_an_eye_is_where_people_look(settings: Settings) -> None:
    lake = Lake.open(settings.lake, create=True)
    assert "Needs a person" not in render_fleet(collect_fleet(lake, {}), (), now_ns=0)
    row = {"log_id": "l", "uri": "lab/2026-01-01/r1/a.mcap", "site": "lab", "day": "2026-01-01",
           "robot_id": "r1", "format": "unknown", "bytes": 3, "state": "quarantined",
           "reason": "no known log format", "messages": 0, "episodes": 0, "created_ns": 1}  # fmt: skip
    rows = [dict.fromkeys(TABLES["logs"].names) | row]
    lake.append("logs", pa.Table.from_pylist(rows, TABLES["logs"].schema))
    page = render_fleet(collect_fleet(lake, {}), (), now_ns=0)
    assert "Needs a person" in page
    for words in ("quarantined", "lab/2026-01-01/r1/a.mcap", "no known log format", "lwd logs retry"):
        assert words in page
    one = add_episode(lake, 1, 3)
    said = [PersonLabel(one, by, "outcome", text) for by, text in (("ann", "success"), ("bob", "failure"))]
    set_labels(lake, said, now_ns=START)
    page = render_fleet(collect_fleet(lake, {}), (), now_ns=0)
    assert "outcome: ann: success, bob: failure" in page
    assert "How far those who judge agree" in page
    assert "0 % <code>[0, 79]</code>" in page


def test_a_film_plays() -> None:
    pictures = [np.full((33, 65, 3), 40 * i, np.uint8) for i in range(5)]
    with av.open(io.BytesIO(encode(pictures, Fraction(5))), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (32, 64, 3)
    assert [round(float(f.mean()), -1) for f in frames] == [0, 40, 80, 120, 160]


def test_a_frame_that_stands_for_many_steps_is_shown_once(lake: Lake) -> None:
    with FrameShards(lake.place, "0" * 64, "lab", "2026-01-01") as shards:
        seen = []
        for i in range(4):
            t_ns = START + i * 500_000_000
            data = simplejpeg.encode_jpeg(np.full((32, 32, 3), 60 * i, np.uint8), quality=95)
            shard, offset, size = shards.put("front", t_ns, data)
            frame = {"camera": "front", "shard": shard, "offset": offset, "size": size, "t_ns": t_ns}
            seen += [[frame]] * 5
    filmed = add_episode(lake, "filmed", 19, frames=seen, source="online", outcome="failure")
    (clip,) = clips(lake)
    assert (clip.episode_id, clip.outcome, clip.unshown) == (filmed, "failure", 0)
    with av.open(io.BytesIO(clip.mp4)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 2
    assert [round(float(picture.mean()), -1) for picture in shown] == [0, 60, 120, 180]
