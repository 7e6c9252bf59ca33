"""A home as the page sees it: three episodes with frames, what checks and a critic say of them, and logs."""

from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS, LOGS
from tests.lwd_core.recorded import recorded_lake


def label(episode: int, **said: object) -> dict:
    """A row of ``labels`` of one of the recorded episodes."""
    row = dict.fromkeys(LABELS.names) | {"site": "north", "day": "2026-01-01", "created_ns": 1}
    return row | {"episode_id": f"e{episode:04d}", "log_id": f"l{episode:04d}"} | said


def say(lake: Lake, *rows: dict) -> None:
    lake.append("labels", pa.Table.from_pylist(list(rows), LABELS.schema))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    lake = recorded_lake(tmp_path / "lake")
    quality = {"layer_id": "quality@1", "kind": "quality"}
    value = {"layer_id": "value.run.01234567@1", "kind": "progress"}
    say(
        lake,
        label(0, **quality, check="smooth", text="fail", detail="it jumps <b>there</b>"),
        label(0, **quality | {"layer_id": "quality@2"}, check="smooth", text="pass", created_ns=2),
        label(1, **quality, check="smooth", text="fail"),
        label(1, **quality, check="still", text="unknown"),
        *(label(0, **value, step=t, value=v) for t, v in enumerate((0.2, 0.9, 0.3, 0.8, 0.5))),
        label(2, layer_id="outcome.model@1", kind="outcome", text="success"),
    )
    for i in range(3):
        log = tmp_path / "landing" / "north" / "2026-01-01" / f"run {i}.mcap"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(f"log {i} and some more".encode())
    rows = [
        dict.fromkeys(LOGS.names, 1)
        | {
            "log_id": f"l{i:04d}",
            "uri": f"north/2026-01-01/run {i}.mcap",
            "site": "north",
            "day": "2026-01-01",
        }
        | {"robot_id": "r0", "format": "mcap", "state": "accepted", "reason": None, "embodiment": "arm"}
        | {"embodiment_digest": None, "superseded_by": None}
        for i in range(3)
    ]
    lake.append("logs", pa.Table.from_pylist(rows, LOGS.schema))
    return tmp_path
