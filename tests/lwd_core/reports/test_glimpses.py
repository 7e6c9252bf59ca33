"""Small figures: drawn from what is there, and still drawn where there is little."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread

from lwd_core.lake.store import Lake
from lwd_core.reports.glimpses import label_curves, sample_frames, success_bars, training_curves
from storage_schemas.tables import LABELS
from tests.lwd_core.recorded import recorded_lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return recorded_lake(tmp_path)


def pixels(image: bytes) -> np.ndarray:
    return imread(io.BytesIO(image))


def test_frames_of_episodes_with_a_camera(lake: Lake) -> None:
    image = sample_frames(lake, "day = ?", ("2026-01-01",))
    assert image
    # the recorded frames are grey between 40 and 200: neither paper nor ink
    grey = pixels(image)[..., :3].std(axis=-1) < 1e-3
    shade = pixels(image)[..., 0]
    assert (grey & (shade > 0.1) & (shade < 0.9)).mean() > 0.2
    assert sample_frames(lake, "day = ?", ("2026-01-02",)) is None


def test_a_layer_along_episodes(lake: Lake) -> None:
    rows = [
        {"layer_id": "value.x@1", "kind": "progress", "episode_id": "e0000", "log_id": "l0000",
         "site": "north", "day": "2026-01-01", "step": step, "value": step / 40, "created_ns": 0}
        for step in range(40)
    ]  # fmt: skip
    lake.append("labels", pa.Table.from_pylist(rows, schema=LABELS.schema))
    drawn = pixels(label_curves(lake, "value.x@1", "true", ()))
    empty = pixels(label_curves(lake, "value.y@1", "true", ()))
    assert drawn.shape[0] > 2 * empty.shape[0]


def test_losses_and_waiting() -> None:
    curves = {name: [(1.0, 2.0), (2.0, 1.0)] for name in ("q_loss", "qam_loss", "updates_per_s")}
    two = pixels(training_curves(curves))
    four = pixels(training_curves(curves | {"value_loss": [(1.0, 1.0)], "data_wait_share": [(1.0, 0.1)]}))
    assert four.shape[0] > two.shape[0]
    assert pixels(training_curves({})).size


def test_success_beside_what_it_replaces() -> None:
    rows = [
        {"task": "push", "success": 0.5, "baseline": 0.25},
        {"task": "pull", "success": 1.0, "baseline": None},
    ]
    assert pixels(success_bars(rows)).shape != pixels(success_bars(rows * 4)).shape
