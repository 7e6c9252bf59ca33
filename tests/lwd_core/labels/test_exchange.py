"""What people said goes out as a file and comes in again as it was."""

import json
from pathlib import Path

import pytest

from lwd_core.cli._format import Format, render
from lwd_core.errors import UserError
from lwd_core.labels.exchange import people_said, read_labels
from lwd_core.labels.people import LabelsSet, PersonLabel, set_labels
from lwd_core.lake.store import Lake
from tests.lwd_core.snapshots.lakes import START, add_episode, episode_id

EVERYTHING = "SELECT * EXCLUDE (log_id) FROM labels ORDER BY ALL"


def lake_at(place: Path) -> Lake:
    lake = Lake.open(str(place), create=True)
    for i in range(2):
        add_episode(lake, i, 20)
    return lake


@pytest.mark.parametrize("form", [Format.CSV, Format.JSON])
def test_everything_ever_said_moves_to_another_lake(tmp_path: Path, form: Format) -> None:
    here, there = lake_at(tmp_path / "here"), lake_at(tmp_path / "there")
    one, two = episode_id(0), episode_id(1)
    for i, labels in enumerate(
        [
            [PersonLabel(one, "ann", "outcome", "success"), PersonLabel(two, "bob", "stage", 'says, "so"')],
            [PersonLabel(one, "ann", "outcome", "failure", "it fell\nover")],
            [
                PersonLabel(one, "ann", "note", "slips", None, 0.1, 0.7),
                PersonLabel(two, "bob", "stage", None),
            ],
        ]
    ):
        set_labels(here, labels, now_ns=START + 123_456_789 + i)
    text = render(people_said(here, history=True), form).decode()
    assert set_labels(there, read_labels(text, name="f"), now_ns=START + 10**10).added >= 3
    assert there.sql(EVERYTHING).to_pylist() == here.sql(EVERYTHING).to_pylist()
    again = read_labels(text, name="f")
    assert set_labels(there, again, now_ns=START + 10**10) == LabelsSet(unchanged=len(again))
    now = people_said(here, by="ann").to_pylist()
    assert [(row["kind"], row["text"], row["from_s"]) for row in now] == [
        ("outcome", "failure", None), ("note", "slips", 0.1),
    ]  # fmt: skip


def test_a_file_of_elsewhere_needs_little() -> None:
    (label,) = read_labels(
        "episode_id,kind,text,at\ne1,outcome,success,2026-01-01T10:00+01:00\n", name="f", by="ann"
    )
    assert label == PersonLabel("e1", "ann", "outcome", "success", at_ns=START + 9 * 3600 * 10**9)


def one(**facts: object) -> str:
    return json.dumps([{"episode_id": "e", "kind": "note", "text": "x", "by": "ann"} | facts])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("episode_id,text\n", "f: column kind is missing"),
        ("episode_id,kind,text,to_\n", "f: no column 'to_'; did you mean to_s"),
        ("episode_id,kind,text\ne,outcome\n", "f, row 1: it has more or fewer cells"),
        ("episode_id,kind,text\ne,outcome,success\n", "f, row 1: nobody said it"),
        ("episode_id,kind,text,by\ne,outcome,,ann\n", "f, row 1: text is empty"),
        ("episode_id,kind,text,by,at\ne,outcome,success,ann,noon\n", "f, row 1, at: 'noon' is no time"),
        ("episode_id,kind,text,by,from_s\ne,note,x,ann,1 s\n", "f, row 1, from_s: '1 s' is no number"),
        ("[1]", "f: no list of objects"),
        ("[{", "f: Expecting"),
        ('[{"episode_id": "e", "kind": "note"}]', "f, row 1: column text is missing"),
        (one(text=["x"]), "f, row 1, text: .* is no text"),
        (one(by=7), "f, row 1, by: 7 is no text"),
        (one(detail=False), "f, row 1, detail: False is no text"),
        (one(at=20260101), "f, row 1, at: 20260101 is no text"),
        (one(to_s=True), "f, row 1, to_s: True is no number"),
        (one(to_s=10**400), "f, row 1, to_s: 10+ is no number"),
        (one(episode_id=None), "f, row 1: episode_id or kind is empty"),
        ("episode_id,kind,text,by\n,note,x,ann\n", "f, row 1: episode_id or kind is empty"),
        (f"episode_id,kind,text,by\ne,note,x,ann\ne,note,{'x' * 200_000},ann\n", "f, row 2: field larger"),
        ("[" * 100_000, "f: maximum recursion"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_labels(text, name="f")
