"""A vector that goes on behind its dims is named: which, how many values, in how many messages."""

from pathlib import Path

import numpy as np

from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.recording import MessageCollector
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import Sink

ARM = parse_embodiment("""\
name: arm
control_hz: 10
state:
  - {topic: /joints, field: position, dims: [{name: a}, {name: b}]}
  - {topic: /joints, field: position, start: 2, dims: [{name: c}]}
action: [{topic: /command, field: data, dims: [{name: u}]}]
""")


def test_messages_wider_than_their_dims() -> None:
    recorder = MessageCollector(ARM, Sink())
    for i, width in enumerate([3, 3, 4, 3, 5, 4]):
        recorder.add("/joints", i, i, i, lambda x: x, {"position": list(range(width))})
        recorder.add("/command", i, i, i, lambda x: x, {"data": [1.0]})
    found = recorder.recording(format="mcap", messages=12, facts={})
    assert found.notes == (
        "state /joints: 2 of 6 messages have 4 values, 3 are mapped",
        "state /joints: 1 of 6 messages have 5 values, 3 are mapped",
    )
    assert found.salvaged is None
    assert found.state[1].values.tolist() == [[2.0]] * 6


def test_rows_wider_than_their_dims(tmp_path: Path) -> None:
    flat = parse_embodiment("""\
name: flat
control_hz: 20
state: [{topic: observations, dims: [{name: a}, {name: b}]}]
action: [{topic: actions, dims: [{name: u}]}]
""")
    rows = {"observations": np.ones((6, 5)), "actions": np.ones((6, 1)), "terminals": np.eye(6)[5]}
    np.savez(tmp_path / "a.npz", **rows)
    content = read_log(LogSource(str(tmp_path / "a.npz")), {"flat": flat}, Sink())
    assert "column observations: 5 of 5 rows have 5 values, 2 are mapped" in content.notes
