"""How far people agree: figures against published ones, and who is compared with whom."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.labels.written import write_layer
from lwd_core.lake.store import Lake
from lwd_core.reports.agreement import agreement, disagreements, kappa_of
from tests.lwd_core.snapshots.lakes import START, add_episode


def test_kappa_is_what_is_published() -> None:
    # the example of Wikipedia's article on Cohen's kappa, and the two that show what it does to marginals
    assert kappa_of(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert kappa_of(np.array([[45, 15], [25, 15]])) == pytest.approx(0.1304, abs=1e-4)
    assert kappa_of(np.array([[25, 35], [5, 35]])) == pytest.approx(0.2593, abs=1e-4)
    assert kappa_of(np.array([[9]])) is None


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Ten episodes, even ones successes by their log. Ann and a model say the same, Bob of six of eight."""
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    ids = [add_episode(lake, i, 3, outcome=("success", "failure")[i % 2], task=str(i)) for i in range(10)]
    truth = ["success", "failure"] * 5
    bobs = ["failure", "success", *truth[2:8]]
    said = [PersonLabel(i, "ann", "outcome", t) for i, t in zip(ids, truth, strict=True)]
    said += [PersonLabel(i, "bob", "outcome", t) for i, t in zip(ids, bobs, strict=False)]
    said += [PersonLabel(ids[0], "ann", "stage", "grasped"), PersonLabel(ids[0], "bob", "stage", "lifted")]
    set_labels(lake, said, now_ns=START)
    write_layer(lake, "clip@1", "outcome", pa.table({"episode_id": ids, "text": truth}), now_ns=1)
    return lake


def test_people_are_compared_with_each_other_with_models_and_with_the_log(lake: Lake) -> None:
    found = {(a.one, a.other): a for a in agreement(lake)}
    assert list(found) == [
        ("ann", "clip@1"), ("ann", "recorded"), ("ann", "bob"), ("bob", "clip@1"), ("bob", "recorded"),
    ]  # fmt: skip
    pair = found["ann", "bob"]
    assert (pair.agreed.trials, pair.agreed.successes) == (8, 6)
    assert pair.kappa == pytest.approx(0.5)
    assert pair.low is not None
    assert pair.high is not None
    assert -0.2 < pair.low < 0.2 < 0.8 < pair.high < 0.95
    whole = found["ann", "recorded"]
    assert (whole.kappa, whole.high) == (1.0, 1.0)
    assert whole.low is not None
    assert whole.low < 0.6  # ten that agree are no certainty
    assert [a.one for a in agreement(lake, minimum=9)] == ["ann", "ann"]
    (stage,) = agreement(lake, "stage")
    assert stage.agreed.successes == 0
    with pytest.raises(UserError, match="notes are words"):
        agreement(lake, "note")


def test_disagreements_name_who_said_what(lake: Lake) -> None:
    found = [(d.task, d.kind, d.said, d.recorded) for d in disagreements(lake)]
    assert found == [
        ("0", "stage", "ann: grasped, bob: lifted", "success"),
        ("1", "outcome", "ann: failure, bob: success", "failure"),
        ("0", "outcome", "ann: success, bob: failure", "success"),
    ]
    (one,) = lake.read("episodes", where="task = '1'")["episode_id"].to_pylist()
    set_labels(lake, [PersonLabel(one, "bob", "outcome", "failure")], now_ns=START + 10**6)
    assert len(disagreements(lake)) == 2
    assert len(disagreements(lake, limit=1)) == 1
