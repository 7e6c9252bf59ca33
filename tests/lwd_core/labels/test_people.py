"""What people say is kept: one commit a batch, the same again changes nothing, what was said before stays."""

import time
from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.people import LabelsSet, PersonLabel, layer_of, place_again, set_labels
from lwd_core.labels.registry import derived
from lwd_core.labels.reward import SPARSE_REWARD
from lwd_core.labels.written import write_layer
from lwd_core.lake.store import Lake
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.world import World
from tests.lwd_core.snapshots.lakes import START, add_episode

ROWS = (
    "SELECT layer_id, text, detail, step, last_step, created_ns, replaced_ns, said_by FROM labels "
    "ORDER BY ALL"
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for i in range(3):
        add_episode(lake, i, 20, day=f"2026-01-0{1 + i}")
    return lake


def ids(lake: Lake) -> list[str]:
    return lake.sql("SELECT episode_id FROM episodes ORDER BY day")["episode_id"].to_pylist()


def rows(lake: Lake) -> list[tuple]:
    return [tuple(row.values()) for row in lake.sql(ROWS).to_pylist()]


def test_a_batch_is_one_commit_and_the_same_again_is_none(lake: Lake) -> None:
    one, two, three = ids(lake)
    batch = [
        PersonLabel(one, "ann", "outcome", "failure", "the cup fell"),
        PersonLabel(one, "ann", "note", "slips", from_s=0.35, to_s=0.9),
        PersonLabel(two, "ann", "stage", "grasped"),
        PersonLabel(three, "bob", "outcome", "success"),
    ]
    before = lake.version("labels") or 0
    assert set_labels(lake, batch, now_ns=START) == LabelsSet(added=4)
    assert lake.version("labels") == before + 1
    assert set_labels(lake, batch, now_ns=START + 5) == LabelsSet(unchanged=4)
    assert lake.version("labels") == before + 1
    assert rows(lake) == [
        ("person.ann.note@1", "slips", None, 4, 9, START + 1, None, "ann"),
        ("person.ann.outcome@1", "failure", "the cup fell", None, None, START, None, "ann"),
        ("person.ann.stage@1", "grasped", None, None, None, START + 2, None, "ann"),
        ("person.bob.outcome@1", "success", None, None, None, START + 3, None, "bob"),
    ]
    assert set_labels(lake, [], now_ns=START) == LabelsSet()


def test_who_says_otherwise_replaces_and_removes_nothing(lake: Lake) -> None:
    one = ids(lake)[0]
    run_labellers(lake, [SPARSE_REWARD], now_ns=1)
    said = [PersonLabel(one, "ann", "outcome", text) for text in ("failure", "success", "success")]
    for i, label in enumerate(said):
        set_labels(lake, [label], now_ns=START + i)
    back = PersonLabel(one, "ann", "outcome", None)
    assert set_labels(lake, [back], now_ns=START + 3) == LabelsSet(taken_back=1)
    assert set_labels(lake, [back], now_ns=START + 4) == LabelsSet(unchanged=1)
    told = [(row[1], row[5] - START, row[6] - START) for row in rows(lake) if row[7]]
    assert told == [("failure", 0, 1), ("success", 1, 3)]
    assert {row[0] for row in rows(lake)} == {layer_of("ann", "outcome"), "reward.sparse@1"}
    assert lake.episode(one).labels["layer_id"].to_pylist() == ["reward.sparse@1"]
    assert set_labels(lake, [said[0]], now_ns=START + 9) == LabelsSet(added=1)
    assert lake.labels("person.ann.outcome@1")["text"].to_pylist() == ["failure"]


def test_what_comes_late_is_history_and_comes_once(lake: Lake) -> None:
    one = ids(lake)[0]
    first, second = (PersonLabel(one, "ann", "outcome", t, at_ns=START + i)
                     for i, t in enumerate(("failure", "success")))  # fmt: skip
    assert set_labels(lake, [second], now_ns=START + 9) == LabelsSet(added=1)
    assert set_labels(lake, [first], now_ns=START + 9) == LabelsSet(added=1)
    assert set_labels(lake, [first, second], now_ns=START + 9) == LabelsSet(unchanged=2)
    assert [(row[1], row[6]) for row in rows(lake)] == [("failure", START + 1), ("success", None)]


def test_a_note_is_of_its_span(lake: Lake) -> None:
    one = ids(lake)[0]
    notes = [("whole", None, None), ("slips", 0.5, 0.7), ("falls", 1.5, None), ("between", 0.52, 0.58)]
    set_labels(lake, [PersonLabel(one, "ann", "note", t, None, a, b) for t, a, b in notes], now_ns=START)
    set_labels(lake, [PersonLabel(one, "ann", "note", "slides", None, 0.5, 0.7)], now_ns=START + 1)
    found = lake.episode(one).labels.select(["text", "step", "last_step"]).to_pylist()
    assert sorted(tuple(row.values()) for row in found if row["step"] is not None) == [
        ("between", 5, 5), ("falls", 15, 20), ("slides", 5, 7),
    ]  # fmt: skip
    assert [row["text"] for row in found if row["step"] is None] == ["whole"]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"by": "Ann B"}, "small letters"),
        ({"kind": "result"}, "people say no such thing"),
        ({"text": "succes"}, "did you mean success"),
        ({"kind": "note", "text": "  "}, "no word"),
        ({"kind": "note", "text": "x" * 70_000}, "65536 are the most"),
        ({"from_s": 1.0}, "only a note"),
        ({"kind": "note", "from_s": 2.0, "to_s": 1.0}, "no span"),
        ({"kind": "note", "from_s": 60.0}, "the episode is 2 s long"),
        ({"kind": "note", "from_s": 1e300, "to_s": 1e301}, "no span"),
        ({"kind": "note", "from_s": 1e300}, "no time of the episode"),
        ({"kind": "note", "to_s": float("nan")}, "no span"),
        ({"kind": "note", "text": "a\x1b]0;title\x07"}, "'\\\\x1b' at 1 is a control character"),
        ({"detail": "one\rtwo"}, "control character"),
        ({"at_ns": START + 10**13}, "in the future"),
        ({"at_ns": -(10**23)}, "before 1970"),
        ({"episode_id": "nobody"}, "no such episode"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_of_its_batch_kept(lake: Lake, facts: dict, says: str) -> None:
    one = ids(lake)[0]
    right = {"episode_id": one, "by": "ann", "kind": "outcome", "text": "success"}
    with pytest.raises(UserError, match=says):
        set_labels(lake, [PersonLabel(**right), PersonLabel(**right | facts)], now_ns=START)
    assert rows(lake) == []


def test_nobody_else_writes_a_persons_layer(lake: Lake) -> None:
    told = pa.table({"episode_id": ids(lake)[:1], "text": ["success"]})
    with pytest.raises(UserError, match="lwd label set"):
        write_layer(lake, "person.ann.outcome@1", "outcome", told, now_ns=1)
    assert not derived("person.ann.outcome@1", None)


def test_spans_find_their_steps_in_rows_read_again(lake: Lake) -> None:
    one = ids(lake)[0]
    set_labels(lake, [PersonLabel(one, "ann", "note", "slips", None, 0.5, 0.9)], now_ns=START)
    assert place_again(lake, [one]) == 0
    steps = lake.read("steps", where="episode_id = ? AND step % 2 = 0 ORDER BY step", params=[one])
    halved = steps.set_column(4, "step", pa.array(range(steps.num_rows), pa.int32()))
    lake.replace("steps", halved, {"episode_id": [one]})
    assert place_again(lake, [one]) == 1
    assert [(row[3], row[4]) for row in rows(lake)] == [(3, 4)]
    assert place_again(lake, [one]) == 0


def test_labels_survive_a_remap_and_go_with_their_episode(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1)
    write_log(world.landing, "two", seed=2)
    world.ingest()
    gone, stays = world.lake.sql("SELECT episode_id FROM episodes JOIN logs USING (log_id) ORDER BY uri")[
        "episode_id"
    ].to_pylist()
    for text in ("failure", "success"):
        said = [PersonLabel(i, "ann", "outcome", text) for i in (gone, stays)]
        set_labels(world.lake, said, now_ns=time.time_ns())
    set_labels(world.lake, [PersonLabel(stays, "ann", "note", "slips", None, 0.1)], now_ns=time.time_ns())
    before = world.tables()["labels"]
    assert world.remap().layers == set()
    assert world.tables()["labels"] == before
    assert len(before) == 5
    world.erase(world.plan(gone))
    assert [row["episode_id"] for row in world.tables()["labels"]] == [stays] * 3
