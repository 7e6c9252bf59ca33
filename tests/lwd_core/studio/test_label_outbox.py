"""What was said is in the lake once, in a commit a batch, whatever is killed in between."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from lwd_core.errors import StorageError, UserError
from lwd_core.labels.people import PersonLabel
from lwd_core.lake.store import Lake
from lwd_core.studio import label_outbox
from lwd_core.studio.label_outbox import LabelOutbox, said

NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
def lake(home: Path) -> Lake:
    return Lake.open(str(home / "lake"))


def outcome(episode: int, word: str = "success", at: int = 0) -> PersonLabel:
    told = {"episode_id": f"e{episode:04d}", "kind": "outcome", "text": word, "at_ms": NOW_MS - 1000 + at}
    return said(told, "ada")


def kept(lake: Lake) -> list[tuple[str, str]]:
    rows = lake.read("labels", where="said_by = 'ada' ORDER BY episode_id, created_ns").to_pylist()
    return [(row["episode_id"], row["text"]) for row in rows]


def test_a_batch_is_a_commit(lake: Lake, tmp_path: Path) -> None:
    before = lake.version("labels")
    outbox = LabelOutbox(lake, tmp_path / "outbox")
    for i in range(3):
        outbox.put([outcome(i, at=i)])
    assert outbox.waiting == 3
    outbox.close()
    assert kept(lake) == [("e0000", "success"), ("e0001", "success"), ("e0002", "success")]
    assert lake.version("labels") - before == outbox.commits == 1
    assert not list((tmp_path / "outbox").iterdir())


def test_it_commits_by_itself(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_outbox, "QUIET_S", 0.05)
    outbox = LabelOutbox(lake, tmp_path / "outbox")
    outbox.put([outcome(0)])
    deadline = time.monotonic() + 20
    while outbox.waiting and time.monotonic() < deadline:
        time.sleep(0.05)
    assert kept(lake) == [("e0000", "success")]
    outbox.close()


SAYS = """
import sys, time
from pathlib import Path
from lwd_core.lake.store import Lake
from lwd_core.studio import label_outbox
from tests.lwd_core.studio.test_label_outbox import outcome
label_outbox.QUIET_S = 3600.0
outbox = label_outbox.LabelOutbox(Lake.open(sys.argv[1]), Path(sys.argv[2]))
outbox.put([outcome(0), outcome(1, "failure")])
print("on disk", flush=True)
time.sleep(3600)
"""


def test_a_kill_loses_nothing(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    command = [sys.executable, "-c", SAYS, lake.root, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on disk\n"
        beside = LabelOutbox(lake, folder)  # another server takes nothing from one that is alive
        beside.close()
        assert kept(lake) == []
        process.send_signal(signal.SIGKILL)
    (batch,) = folder.glob("*.batch")
    whole = batch.read_bytes()
    batch.write_bytes(whole + b'{"episode_id": "e00')  # the line it was at
    LabelOutbox(lake, folder).close()
    assert kept(lake) == [("e0000", "success"), ("e0001", "failure")]
    (folder / batch.name).write_bytes(whole)  # killed after the commit, before the file was gone
    version = lake.version("labels")
    LabelOutbox(lake, folder).close()
    assert kept(lake) == [("e0000", "success"), ("e0001", "failure")]
    assert lake.version("labels") == version


def test_what_the_lake_refuses_is_kept_aside_and_the_rest_committed(lake: Lake, tmp_path: Path) -> None:
    outbox = LabelOutbox(lake, tmp_path / "outbox")
    outbox.put([outcome(0), outcome(7), outcome(2)])
    outbox.close()
    assert kept(lake) == [("e0000", "success"), ("e0002", "success")]
    assert outbox.refused == 1
    assert "e0007" in outbox.last_refused
    assert "e0007" in (tmp_path / "outbox" / "refused.jsonl").read_text()


def test_one_that_no_lake_can_hold_stops_nothing(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    far = asdict(outcome(1)) | {"at_ns": -(10**23)}
    (folder / "1-1.batch").write_text(
        f"{json.dumps(far)}\nno label\n[]\n"
    )  # as a server before this one kept it
    outbox = LabelOutbox(lake, folder)
    outbox.put([outcome(0)])
    outbox.close()
    assert kept(lake) == [("e0000", "success")]
    assert (outbox.refused, outbox.trouble) == (3, "")
    aside = [json.loads(line) for line in (folder / "refused.jsonl").read_text().splitlines()]
    assert [one.get("line") for one in aside] == ["no label", "[]", None]
    assert all(one["why"] for one in aside)


def test_a_fault_that_nobody_foresaw_is_told_and_tried_again(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_outbox, "_AGAIN_S", 0.05)
    whole, tried = label_outbox.set_labels, []

    def fails_once(*given: object, **named: object) -> object:
        tried.append(given)
        if len(tried) == 1:
            raise MemoryError
        return whole(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(label_outbox, "set_labels", fails_once)
    outbox = LabelOutbox(lake, tmp_path / "outbox")
    outbox.put([outcome(0)])
    outbox.commit()
    deadline = time.monotonic() + 20
    while outbox.waiting and time.monotonic() < deadline:
        time.sleep(0.05)
    outbox.close()
    assert kept(lake) == [("e0000", "success")]
    assert outbox.trouble == ""


def test_what_cannot_be_committed_now_stays(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(label_outbox, "set_labels", fails)
        outbox = LabelOutbox(lake, tmp_path / "outbox")
        outbox.put([outcome(0)])
        outbox.close()
        assert outbox.trouble == "the disk is full"
        assert outbox.waiting == 1
    outbox._sealed[0].file.close()  # type: ignore[union-attr]  # as the end of its process does
    LabelOutbox(lake, tmp_path / "outbox").close()
    assert kept(lake) == [("e0000", "success")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "colour"},
        {"text": 3},
        {"text": "won"},
        {"at_ms": "now"},
        {"at_ms": True},
        {"at_ms": -(10**17)},
        {"at_ms": 10**17},
        {"from_s": "1"},
        {"episode_id": None},
    ],
)
def test_what_is_no_label_is_refused(wrong: dict) -> None:
    good = {"episode_id": "e0000", "kind": "outcome", "text": "success", "at_ms": NOW_MS}
    with pytest.raises(UserError):
        said(good | wrong, "ada")
