from lwd_core.labels.labeller import Labelled, run_labellers
from lwd_core.labels.outcome import RECORDED_OUTCOME
from lwd_core.labels.reward import SPARSE_REWARD
from lwd_core.labels.said import LabelRows
from storage_schemas.vocabulary import LabelKind
from tests.lwd_core.labels.conftest import episode_rows


def test_the_sparse_reward_is_one_on_the_last_step_of_a_success(lake):
    run_labellers(lake, [SPARSE_REWARD], now_ns=5)
    rows = lake.read("labels").sort_by("episode_id").to_pylist()
    assert [r["value"] for r in rows] == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert [r["step"] for r in rows] == [9, 10, 11, 12, 13, 14]
    assert {r["layer_id"] for r in rows} == {"reward.sparse@1"}
    assert [r["detail"] for r in rows] == [None, None, "outcome unknown"] * 2


def test_a_second_run_changes_nothing(lake):
    labellers = [SPARSE_REWARD, RECORDED_OUTCOME]
    first = run_labellers(lake, labellers, now_ns=5)
    version = lake.version("labels")
    second = run_labellers(lake, labellers, now_ns=6)
    assert [r.episodes for r in first] == [6, 6]
    assert [r.episodes for r in second] == [0, 0]
    assert lake.version("labels") == version


def test_only_new_episodes_are_labelled(lake):
    run_labellers(lake, [SPARSE_REWARD], now_ns=5)
    lake.append("episodes", episode_rows(8).slice(6))
    (run,) = run_labellers(lake, [SPARSE_REWARD], now_ns=6)
    assert (run.episodes, run.rows) == (2, 2)
    assert lake.read("labels").num_rows == 8


def test_a_run_can_be_limited_to_a_partition(lake):
    lake.append("episodes", episode_rows(8, day="2026-01-02").slice(6))
    (run,) = run_labellers(lake, [SPARSE_REWARD], now_ns=5, where="day = ?", params=("2026-01-02",))
    assert run.episodes == 2


def test_an_episode_that_a_labeller_passes_over_is_a_failed_one(lake):
    class Forgetful:
        layer_id = "progress.forgetful@1"
        kind = LabelKind.PROGRESS
        description = ""
        source_digest = None

        def label(self, lake, episodes, embodiments):
            rows = LabelRows(self.kind, "forgetful")
            for episode_id in episodes.column("episode_id").to_pylist()[1:]:
                rows.add(episode_id, 10, 1.0)
            yield Labelled(rows.table())

    (run,) = run_labellers(lake, [Forgetful()], now_ns=5)
    assert run.failed == {"e0000": "the labeller said nothing of it"}
    assert (run.total, run.episodes, lake.read("labels").num_rows) == (6, 5, 5)
