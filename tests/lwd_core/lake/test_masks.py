"""A step that holds what is not a number is masked where it comes in, whoever read it, and counted."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from lwd_core.ingest.landing import LandedLog
from lwd_core.ingest.staging import masked, stage
from tests.lwd_core.lake.fake_logs import read_fake, write_log
from tests.lwd_core.lake.rows import step_rows
from tests.lwd_core.lake.world import NOW, World


def spoiled(steps: pa.Table, column: str, at: dict[tuple[int, int], float]) -> pa.Table:
    vectors = steps[column].to_pylist()
    for (row, dim), number in at.items():
        vectors[row][dim] = number
    return steps.set_column(
        steps.column_names.index(column), column, pa.array(vectors, pa.list_(pa.float32()))
    )


def test_rows_that_are_not_numbers_are_not_valid() -> None:
    steps = spoiled(step_rows("e", "l", 6), "state", {(1, 3): np.nan, (1, 4): np.inf})
    steps = spoiled(steps, "action", {(4, 0): -np.inf})
    found, bad = masked(steps)
    assert bad == 2
    assert found["valid"].to_pylist() == [True, False, True, True, False, True]
    assert np.isnan(found["state"].to_pylist()[1][3])  # what was told stays
    assert masked(step_rows("e", "l", 6)) == (step_rows("e", "l", 6), 0)


def test_the_final_state_has_no_action() -> None:
    steps = step_rows("e", "l", 3)
    vectors = [*steps["action"].to_pylist()[:2], []]
    steps = steps.set_column(
        steps.column_names.index("action"), "action", pa.array(vectors, pa.list_(pa.float32()))
    )
    assert masked(steps)[0]["valid"].to_pylist() == [True] * 3


def test_the_log_says_how_many(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = write_log(world.landing, "a", length=5)

    def reader(source, embodiments, frames):
        content = read_fake(source, embodiments, frames)
        (episode,) = content.episodes
        object.__setattr__(episode, "steps", spoiled(episode.steps, "action", {(2, 0): np.nan}))
        return content

    staged = stage(world.lake.place, LandedLog(str(path), 1), "l" * 64, {}, reader, NOW)
    assert staged.logs["state"].to_pylist() == ["accepted"]
    assert staged.logs["reason"].to_pylist() == ["1 of 5 steps hold what is not a number, masked"]
    assert staged.steps["valid"].to_pylist() == [True, True, False, True, True]
