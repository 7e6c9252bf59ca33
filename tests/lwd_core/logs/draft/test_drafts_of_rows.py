"""Any sound set of rows gives a draft that loads and reads it, or one line that says why not."""

import json
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import Sink

_WORDS = """observation obs state action last_action left right position hand pose Bein_ß 1 images next reward
source intervention valid timestamp proposed_action"""
WORDS = st.sampled_from(_WORDS.split())
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(".".join)
COLUMNS = st.dictionaries(NAMES, st.integers(0, 3), min_size=1, max_size=6)
ROWS = 6


def reads(path: Path) -> None:
    """Drafted, loaded and read with a valid row, or refused in one line."""
    refused: UnreadableLog | None = None
    try:
        draft = parse_embodiment(render(infer(LogSource(str(path)))), "draft")
        (episode,) = read_log(LogSource(str(path)), {draft.name: draft}, Sink()).episodes
        assert episode.actions == ROWS or not draft.action
        assert any(episode.steps["valid"].to_pylist())
    except UnreadableLog as e:
        refused = e
    assert refused is None or "no topic holds numbers" in str(refused) or "no known layout" in str(refused)


@settings(max_examples=60, deadline=None)
@given(COLUMNS)
def test_lerobot_sets_of_any_columns(columns: dict[str, int]):
    rows = np.arange(ROWS, dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        (root / "meta").mkdir(parents=True)
        (root / "data/chunk-000").mkdir(parents=True)
        (root / "meta/info.json").write_text(
            json.dumps({"fps": 10, "features": {}, "codebase_version": "v2.1"})
        )
        made = {
            name: rows if width == 0 else [[float(i)] * width for i in range(ROWS)]
            for name, width in columns.items()
        }
        pq.write_table(pa.table(made), root / "data/chunk-000/episode_000000.parquet")
        reads(root)


@settings(max_examples=60, deadline=None)
@given(COLUMNS, st.sampled_from(["data/demo_0", "episode_0", ""]), st.booleans())
def test_hdf5_sets_of_any_arrays(columns: dict[str, int], group: str, last: bool):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.hdf5"
        with h5py.File(path, "w") as file:
            for name, width in columns.items():
                n = ROWS + (last and name.startswith("obs"))
                place = f"{group}/{name.replace('.', '/')}"
                if place not in file:
                    try:
                        file[place] = np.ones((n, width) if width else n)
                    except (ValueError, OSError):  # lies below an array
                        continue
        reads(path)
