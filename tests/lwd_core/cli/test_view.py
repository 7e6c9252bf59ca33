"""`lwd episode view`: the recording holds what the lake holds, the viewer listens on loopback only."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from rerun.chunk import Chunk, RrdReader
from typer.testing import CliRunner

from lwd_core.cli.episode import app
from lwd_core.lake.frames import read_frame
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS
from tests.lwd_core.recorded import ARM, jpeg, recorded_lake


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    lake = recorded_lake(tmp_path / "lake")
    row = dict.fromkeys(LABELS.names) | {"episode_id": "e0001", "log_id": "l0001", "site": "north"}
    row |= {"layer_id": "value.offline.1@1", "kind": "progress", "day": "2026-01-01", "created_ns": 1}
    values = [row | {"step": t, "value": t / 50} for t in range(51)]
    lake.append("labels", pa.Table.from_pylist(values, LABELS.schema))
    return tmp_path


def chunks(file: Path) -> dict[str, list[Chunk]]:
    found: dict[str, list[Chunk]] = {}
    for chunk in RrdReader(file).stream().to_chunks():
        found.setdefault(chunk.entity_path.replace("\\", ""), []).append(chunk)
    return found


def column(found: dict[str, list[Chunk]], entity: str, name: str) -> list:
    return [
        value
        for chunk in found[entity]
        for batch in [chunk.to_record_batch()]
        if name in batch.schema.names
        for value in batch.column(name).to_pylist()
    ]


def test_the_recording_holds_what_the_lake_holds(home: Path) -> None:
    file = home / "e.rrd"
    result = CliRunner().invoke(app, ["view", "e0001", "--save", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = chunks(file)
    lake = Lake.open(str(home / "lake"))
    steps = lake.read("steps", where="episode_id = 'e0001' ORDER BY step")
    state = np.array(column(found, "/state", "Scalars:scalars"))
    assert np.allclose(state, np.array(steps.column("state").to_pylist()))
    action = np.array(column(found, "/action/executed", "Scalars:scalars"))
    assert np.allclose(action, np.array(steps.column("action").to_pylist()[:-1]))
    assert len(column(found, "/action/proposed", "Scalars:scalars")) == 50
    assert [a for (a,) in column(found, "/actor", "StateChange:state")] == steps.column("actor").to_pylist()
    reward = [r for (r,) in column(found, "/reward/outcome", "Scalars:scalars")]
    outcome = lake.read("episodes", where="episode_id = 'e0001'").column("outcome")[0].as_py()
    assert reward == [0.0] * 49 + [float(outcome == "success")]
    value = [v for (v,) in column(found, "/value/value.offline.1@1", "Scalars:scalars")]
    assert value == pytest.approx([t / 50 for t in range(51)])
    frames = [bytes(blob) for (blob,) in column(found, "/camera/front", "EncodedImage:blob")]
    assert frames == [jpeg(1, t) for t in range(51) if t % 2]
    (first,) = steps.column("frames")[1].as_py()
    assert read_frame(lake.place, first) == frames[0]


def test_dims_carry_the_embodiments_names(home: Path) -> None:
    from lwd_core.reports.viewer import write_recording

    lake = Lake.open(str(home / "lake"))
    write_recording(lake.place, lake.episode("e0002"), ARM, home / "n.rrd")
    found = chunks(home / "n.rrd")
    assert column(found, "/state", "SeriesLines:names") == [["q0", "q1", "q2"]]
    assert "/action/proposed" not in found, "nothing was proposed in this episode"


@pytest.mark.servers
def test_the_viewer_listens_on_loopback_and_ends_with_ctrl_c(home: Path) -> None:
    process = subprocess.Popen(
        [Path(sys.executable).with_name("lwd"), "episode", "view", "e0001", "--no-browser"],
        env=os.environ | {"LWD_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # as a terminal starts a command; a shell's background jobs ignore SIGINT, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        url = re.match(r"http://127\.0\.0\.1:\d+\S*", process.stdout.readline())
        assert url
        family = [*psutil.Process(process.pid).children(recursive=True)]
        assert urllib.request.urlopen(url[0], timeout=20).status == 200
        listening = {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == "LISTEN"}
        assert listening == {"127.0.0.1"}
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not psutil.wait_procs(family, timeout=10)[1], "a server outlived the command"


def test_a_layer_of_single_steps_is_one_line_in_the_terminal(home: Path) -> None:
    said = CliRunner().invoke(app, ["show", "e0001"], catch_exceptions=False).output
    (line,) = [line for line in said.splitlines() if "value.offline.1@1" in line]
    assert "0–50" in line
    assert "0 to 1" in line


def test_a_fact_that_is_zero_is_said(home: Path) -> None:
    said = CliRunner().invoke(app, ["show", "e0001"], catch_exceptions=False).output
    (line,) = [line for line in said.splitlines() if "index_in_log" in line]
    assert line.split()[-1] == "0"


def test_a_viewer_that_sits_out_what_asks_it_is_ended() -> None:
    from lwd_core.reports import viewer

    ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{ignores}; print(flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        viewer._end(process, patience_s=0.2)
        assert process.returncode == -signal.SIGKILL
