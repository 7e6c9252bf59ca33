from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import LABELS
from tests.lwd_core.snapshots.lakes import START, add_episode

FAILED = {1: "defect.gaps", 2: "risk.idle_share"}


@pytest.mark.parametrize(
    ("blocking", "kept"),
    [
        ((), {0, 1, 2}),
        (("quality@1",), {0}),
        (("quality@1:defect.*",), {0, 2}),
        (("quality@1:defect.rate",), {0, 1, 2}),
        (("quality@1:defect.gaps", "quality@1:risk.idle_share"), {0}),
        (("quality@2",), {0, 1, 2}),
    ],
)
def test_the_user_says_which_checks_block(tmp_path: Path, blocking, kept):
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    names = {add_episode(lake, name, 5): name for name in range(3)}
    rows = [
        {"layer_id": "quality@1", "kind": "quality", "episode_id": episode, "log_id": "l", "site": "lab"}
        | {"day": "2026-01-01", "check": check, "created_ns": 1}
        | {"text": "fail" if FAILED.get(name) == check else "pass"}
        for episode, name in names.items()
        for check in ("defect.gaps", "defect.rate", "risk.idle_share")
    ]
    lake.append("labels", pa.Table.from_pylist(rows, schema=LABELS.schema))
    spec = SnapshotSpec.parse({"name": "s", "labels": {"blocking": blocking}})
    snapshot = build_snapshot(lake, spec, str(tmp_path / "s"), now_ns=START)
    assert {names[m.episode_id] for m in snapshot.episodes} == kept
