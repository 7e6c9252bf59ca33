"""What a person is asked to look at next."""

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.labels import queues
from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.labels.queues import queue
from lwd_core.labels.written import write_layer
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS
from tests.lwd_core.snapshots.lakes import START, add_episode


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Eight episodes, odd ones failures; a critic sure of what each was but of two, a model of but one."""
    lake = Lake.open(str(tmp_path_factory.mktemp("queues") / "lake"), create=True)
    names = [
        add_episode(lake, i, 3, start_ns=START + i, outcome=("success", "failure")[i % 2]) for i in range(8)
    ]
    values = [0.9, 0.1, 0.9, 0.8, 0.3, 0.1, 0.9, 0.1]
    told = [{"episode_id": n, "step": s, "value": v if s else 0.5}
            for n, v in zip(names, values, strict=True) for s in range(3)]  # fmt: skip
    facts = {"log_id": "l", "site": "lab", "day": "2026-01-01", "created_ns": 1}
    curves = [dict.fromkeys(LABELS.names) | facts | t | {"layer_id": "value.run.1@1", "kind": "progress"}
              for t in told]  # fmt: skip
    lake.append("labels", pa.Table.from_pylist(curves, LABELS.schema))
    model = pa.table({"episode_id": [names[7]], "text": ["success"], "value": [0.97]})
    write_layer(lake, "clip@1", "outcome", model, now_ns=2)
    set_labels(
        lake,
        [
            PersonLabel(names[1], "ann", "outcome", "failure"),
            PersonLabel(names[2], "ann", "outcome", "success"),
            PersonLabel(names[2], "bob", "outcome", "failure"),
            PersonLabel(names[6], "bob", "note", "odd"),
        ],
        now_ns=START,
    )
    return lake


def found(lake: Lake, name: str, **asked) -> list[int]:
    return [row["start_ns"] - START for row in queue(lake, name, **asked).to_pylist()]


def test_each_queue_finds_what_waits(lake: Lake) -> None:
    assert found(lake, "failures") == [7, 5, 3]
    assert found(lake, "unlabelled") == [7, 6, 5, 4, 3, 0]
    assert found(lake, "doubts") == [7, 3, 4]
    assert found(lake, "contested") == [2]
    doubts = queue(lake, "doubts").to_pylist()
    assert [round(row["score"], 2) for row in doubts] == [0.97, 0.8, 0.7]
    assert doubts[1]["why"] == "value.run.1@1: last value 0.80, recorded as failure"
    assert doubts[0]["why"] == "clip@1: success 0.97, recorded as failure"
    assert queue(lake, "contested")["why"].to_pylist() == ["ann: success, bob: failure"]


def test_a_queue_says_how_many_wait_and_narrows(lake: Lake) -> None:
    first = queue(lake, "failures", limit=1)
    assert (first.num_rows, first["wait"].to_pylist()) == (1, [3])
    assert found(lake, "unlabelled", where="outcome = 'success'") == [6, 4, 0]
    assert found(lake, "doubts", since="2026-01-01") == [7, 3, 4]
    for name in queues.QUEUES:
        assert found(lake, name, since="2026-01-02", by="ann") == []


def test_a_comment_ends_with_the_condition(lake: Lake) -> None:
    assert found(lake, "failures", where="true -- all") == [7, 5, 3]


def test_several_people_are_asked_for_the_same_sample(lake: Lake) -> None:
    nobody, ann = (found(lake, "agreement", by=by, sample=6, seed=3) for by in ("nobody", "ann"))
    assert len(nobody) == 6
    assert ann == [i for i in nobody if i not in (1, 2)]
    assert found(lake, "agreement", by="nobody", sample=6, seed=4) != nobody


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"name": "failure"}, "did you mean failures"),
        ({"name": "agreement"}, "--by NAME"),
        ({"name": "failures", "where": "outcom = 1"}, "outcom"),
        ({"name": "failures", "where": "1 = 1) OR (SELECT count(*) FROM read_text('/etc/passwd')"}, "where"),
        ({"name": "failures", "where": "1=1) --"}, "queue failures, where: .*syntax error"),
        ({"name": "failures", "where": "1=1) OR (1=1"}, "queue failures, where: .*syntax error"),
        ({"name": "failures", "limit": 0}, "give 1 to"),
        ({"name": "failures", "limit": 10**20}, "give 1 to 1000000"),
        ({"name": "failures", "since": "2025-99-99"}, "no day"),
        ({"name": "failures", "since": "yesterday"}, "no day"),
    ],
)
def test_what_no_queue_can_be_is_refused(lake: Lake, asked: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        queue(lake, **asked)


def test_every_queue_is_described() -> None:
    assert all(queues.QUEUES.values())
