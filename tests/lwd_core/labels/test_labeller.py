import pyarrow as pa
import pytest

from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.outcome import RecordedOutcome
from lwd_core.labels.reward import SparseReward
from storage_schemas.vocabulary import LabelKind
from tests.lwd_core.labels.conftest import episode_rows


def test_the_sparse_reward_is_one_on_the_last_step_of_a_success(lake):
    run_labellers(lake, [SparseReward()], now_ns=5)
    rows = lake.read("labels").sort_by("episode_id").to_pylist()
    assert [r["value"] for r in rows] == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert [r["step"] for r in rows] == [9, 10, 11, 12, 13, 14]
    assert {r["layer_id"] for r in rows} == {"reward.sparse@1"}
    assert [r["detail"] for r in rows] == [None, None, "outcome unknown"] * 2


def test_a_second_run_changes_nothing(lake):
    labellers = [SparseReward(), RecordedOutcome()]
    first = run_labellers(lake, labellers, now_ns=5)
    version = lake.version("labels")
    second = run_labellers(lake, labellers, now_ns=6)
    assert [r.episodes for r in first] == [6, 6]
    assert [r.episodes for r in second] == [0, 0]
    assert lake.version("labels") == version


def test_only_new_episodes_are_labelled(lake):
    run_labellers(lake, [SparseReward()], now_ns=5)
    lake.append("episodes", episode_rows(8).slice(6))
    (run,) = run_labellers(lake, [SparseReward()], now_ns=6)
    assert (run.episodes, run.rows) == (2, 2)
    assert lake.read("labels").num_rows == 8


def test_a_run_can_be_limited_to_a_partition(lake):
    lake.append("episodes", episode_rows(8, day="2026-01-02").slice(6))
    (run,) = run_labellers(lake, [SparseReward()], now_ns=5, where="day = ?", params=("2026-01-02",))
    assert run.episodes == 2


def test_a_labeller_that_skips_an_episode_is_refused(lake):
    class Forgetful:
        layer_id = "progress.forgetful@1"
        kind = LabelKind.PROGRESS

        def label(self, lake, episodes):
            return pa.table({"episode_id": episodes.column("episode_id").slice(1)})

    with pytest.raises(ValueError, match="said nothing of episode e0000"):
        run_labellers(lake, [Forgetful()], now_ns=5)
    assert lake.read("labels").num_rows == 0
