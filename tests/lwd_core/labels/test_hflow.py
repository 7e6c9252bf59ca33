"""HFlow's canonical MCAP is a log as any other; its catalog's rows are layers over it."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.ingest.commit import ingest
from lwd_core.labels.hflow import read_catalog
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.settings import Settings
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, saved, stamp
from tests.lwd_core.logs.test_footage import FRAMES, video

ROBOT = parse_embodiment("""\
name: desk-arm
control_hz: 50
match: {embodiment: so101}
time: {ticks: /joint_states}
state:
  - {topic: /joint_states, field: values, dims: [{name: a, unit: rad}, {name: b, unit: rad}]}
action:
  - {topic: /command, field: values, dims: [{name: u, low: -1, high: 1}]}
cameras:
  - {name: wrist, topic: /wrist_cam/compressed}
""")


def canonical() -> bytes:
    """A group of topics after the other, as HFlow lays them out; facts in its two metadata records."""
    log = Log(None)
    said = {"task": "fold_napkin", "operator": "mira", "success": "True", "embodiment": "so101"}
    log.writer.add_metadata("episode/v1", said | {"robot_software_version": "1.4"})
    log.writer.add_metadata("provenance/v1", {"schema_version": "1", "group//joint_states": "state"})
    for i in range(FRAMES):
        t = START + i * PERIOD
        frame = CompressedVideo(timestamp=stamp(t), data=video("h264")[i], format="h264", frame_id="wrist")
        log.write("/wrist_cam/compressed", frame, t)
    for i in range(FRAMES):
        t = START + i * PERIOD
        log.write("/joint_states", Vector(timestamp=stamp(t), values=[i, 1]), t)
        log.write("/command", Vector(timestamp=stamp(t), values=[0.5]), t)
    return log.finish()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    path = saved(tmp_path, canonical())
    done = ingest(lake, Settings(home=str(tmp_path)), [str(path)], embodiments={"desk-arm": ROBOT}, now_ns=1)
    assert done.accepted.files == 1, done.reasons
    return lake


def put(catalog: Path, table: str, name: str, *rows: dict[str, Any]) -> None:
    (catalog / table).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), catalog / table / f"{name}.parquet")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Two runs of one episode, the later one with another verdict, and one of a log that is elsewhere."""
    catalog = tmp_path / "catalog"
    episode = hashlib.sha256(canonical()).hexdigest()[:16]
    for run, day, status in (("aaaa", 1, "failed"), ("bbbb", 2, "passed")):
        of = {
            "episode_id": episode,
            "run_fingerprint": run,
            "recorded_at": datetime(2026, 1, day, tzinfo=UTC),
        }
        name = f"{episode}-{run}"
        put(catalog, "episodes", name, of | {"uri": "x.mcap", "task": "fold_napkin", "quarantined": False})
        by = of | {"check_name": "camera_frame_stats"}
        ran = by | {"check_version": "2", "critical": True, "error": None}
        put(
            catalog,
            "check_runs",
            name,
            ran | {"status": status},
            ran | {"check_name": "vlm tags", "check_version": "1", "status": "measured"},
        )
        found = {
            "key": "/wrist_cam/black_pct",
            "value_double": 3.5 + day,
            "value_text": None,
            "value_bool": None,
        }
        put(catalog, "measurements", name, by | {"check_version": "2"} | found)
        spans = [(START + 2 * PERIOD, START + 4 * PERIOD), (START + 10**12, START + 2 * 10**12)]
        put(
            catalog,
            "intervals",
            name,
            *(by | {"label": "dark", "start_ns": start, "end_ns": end} for start, end in spans),
        )
        put(catalog, "tags", name, by | {"check_name": "vlm tags", "tag": "napkin"})
    elsewhere = {"episode_id": "f" * 16, "run_fingerprint": "cccc", "recorded_at": None}
    put(catalog, "episodes", "elsewhere", elsewhere)
    return catalog


def test_a_canonical_file_is_a_log(lake: Lake) -> None:
    [episode] = lake.read("episodes").to_pylist()
    facts = {name: episode[name] for name in ("task", "outcome", "embodiment", "steps")}
    assert facts == {"task": "fold_napkin", "outcome": "success", "embodiment": "desk-arm", "steps": FRAMES}
    attributes = json.loads(episode["attributes"])
    assert (attributes["operator"], attributes["robot_software_version"]) == ("mira", "1.4")
    frames = lake.read("steps", columns=["frames"], where="true ORDER BY step")["frames"].to_pylist()
    assert [f["camera"] for f in frames[-1]] == ["wrist"]


def test_its_catalog_is_layers(lake: Lake, catalog: Path) -> None:
    read = read_catalog(lake, catalog, now_ns=2)
    assert (read.episodes, read.absent, read.outside) == (1, 1, 1)
    rows = lake.read(
        "labels", where="starts_with(layer_id, 'hflow.') ORDER BY layer_id, \"check\", step"
    ).to_pylist()
    said = [
        tuple(row[name] for name in ("layer_id", "kind", "check", "value", "text", "step", "last_step"))
        for row in rows
    ]
    frames = "hflow.camera_frame_stats"
    assert said == [
        (f"{frames}.found@2", "annotation", "/wrist_cam/black_pct", 5.5, None, None, None),
        (f"{frames}.found@2", "annotation", "interval", None, "dark", 2, 4),
        (f"{frames}@2", "quality", "camera_frame_stats", None, "pass", None, None),
        ("hflow.vlm_tags.found@1", "annotation", "tag", None, "napkin", None, None),
    ]


def test_again_it_adds_nothing(lake: Lake, catalog: Path) -> None:
    read_catalog(lake, catalog, now_ns=2)
    again = read_catalog(lake, catalog, now_ns=3)
    assert sum(run.rows for run in again.layers) == 0


def test_what_is_no_catalog_is_said(lake: Lake, catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no HFlow catalog; give the folder that has episodes/"):
        read_catalog(lake, tmp_path, now_ns=2)
    (catalog / "tags" / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"cut.parquet: can't be read"):
        read_catalog(lake, catalog, now_ns=2)
    put(catalog, "tags", "cut", {"other": 1})
    with pytest.raises(UserError, match="has no column episode_id, run_fingerprint"):
        read_catalog(lake, catalog, now_ns=2)


def test_the_command_says_what_became_of_it(lake: Lake, catalog: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LWD_LAKE", str(tmp_path / "lake"))
    said = CliRunner().invoke(app, ["label", "hflow", str(catalog)])
    assert said.exit_code == 0, said.output
    assert "hflow.camera_frame_stats@2: 1 episodes labelled, 1 labels" in said.stdout
    assert "1 of the catalog's logs are not in the lake" in said.stderr
    document = json.loads(CliRunner().invoke(app, ["label", "hflow", str(catalog), "--json"]).stdout)
    assert document["outside"] == 1
