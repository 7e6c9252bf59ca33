"""A column of ``steps`` reaches a batch by its description alone, and changes no snapshot that lacks it."""

from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load as load_safetensors

from lwd_core.lake.store import Lake
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.mixed import MixedLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.reissue import reissue
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.snapshots.verify import verify
from storage_schemas import snapshot_row
from storage_schemas.snapshot_row import FromSteps, Merge, RowColumn, Take, Use, Width, batch_columns
from storage_schemas.tables import F32, I64, TABLES
from tests.lwd_core.loader.test_transition_loader import MODES
from tests.lwd_core.snapshots.lakes import START, add_episode

#: Two columns of ``steps`` that no batch has today: a number a row, and a vector of the action's width.
AGE = RowColumn(
    "age",
    I64,
    "age of the oldest part of the state",
    FromSteps("state_age_ns"),
    Merge.SUM,
    absent=-1,
    batch=(
        Use("age", Take.START, "at the start"),
        Use("next_age", Take.BOOTSTRAP, "at the bootstrap"),
        Use("ages", Take.CHUNK, "of the chunk"),
        Use("aged", Take.RETURN, "over the window"),
    ),
)
PROPOSED = RowColumn(
    "proposed",
    F32,
    "action the policy proposed",
    FromSteps("proposed"),
    width=Width.ACTION,
    per_action=True,
    masked=True,
    batch=(Use("proposed", Take.CHUNK, "proposed"),),
)
SAYS, PARTLY, SILENT = 1, 2, 3
GAMMA = 0.5


@pytest.fixture
def told(lake: Lake) -> Lake:
    """Of three episodes one says both columns in every row, one in some, one in none."""
    for name in (SAYS, PARTLY, SILENT):
        wide = (5, 4) if name == PARTLY else (3, 2)
        episode = add_episode(
            lake,
            name,
            8,
            invalid=[2],
            widths=wide,
            seed=name,
            outcome="failure",
            embodiment=("arm", "crane")[name == PARTLY],
        )
        rows = lake.read("steps", where="episode_id = ? ORDER BY step", params=[episode]).to_pylist()
        for row in rows if name != SILENT else []:
            t = row["step"]
            if name == SAYS or t % 2 == 0:
                row["state_age_ns"] = 100 * name + t
                row["proposed"] = [10.0 * t + d for d in range(wide[1])] if t < 8 else None
        lake.replace("steps", pa.Table.from_pylist(rows, TABLES["steps"].schema), {"episode_id": [episode]})
    return lake


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_row, "ROW", (*snapshot_row.ROW, AGE, PROPOSED))


def build(lake: Lake, root: Path, **fields) -> Snapshot:
    spec = SnapshotSpec.parse({"name": "all", "chunk": 3, "gamma": GAMMA, **fields})
    return build_snapshot(lake, spec, str(root), now_ns=START)


def sample(snapshot: Snapshot, seed: int) -> dict[str, np.ndarray]:
    for member in snapshot.episodes:
        data = Path(snapshot.path(member.shard)).read_bytes()
        tensors = load_safetensors(data[member.offset : member.offset + member.bytes])
        if tensors["state"][0, 0] == seed:
            return tensors
    raise AssertionError(seed)


@pytest.mark.usefixtures("described")
def test_a_sample_has_it_where_the_lake_says_something(told: Lake, tmp_path: Path):
    snapshot = build(told, tmp_path / "s")
    assert sample(snapshot, SAYS)["age"].tolist() == [100 + t for t in range(9)]
    assert sample(snapshot, PARTLY)["age"].tolist() == [200, -1, 202, -1, 204, -1, 206, -1, 208]
    assert sample(snapshot, SAYS)["proposed"].tolist() == [
        [10 * t, 10 * t + 1] if t != 2 else [0, 0] for t in range(8)
    ]
    assert sample(snapshot, PARTLY)["proposed"][3].tolist() == [0, 0, 0, 0]
    assert not {"age", "proposed"} & sample(snapshot, SILENT).keys()
    assert verify(str(tmp_path / "s"), snapshot.digest) == []
    slower = build(told, tmp_path / "s", frame_rate=5)
    assert sample(slower, SAYS)["age"].tolist() == [201, 205, 209, 213, 108]


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_every_way_to_a_batch_has_it(told: Lake, tmp_path: Path, mode: dict):
    snapshot = build(told, tmp_path / "s")
    batch = next(iter(TransitionLoader(snapshot, 64, 0, **mode)))
    assert tuple(batch) == tuple(column.name for column in batch_columns())
    seeds = batch["state"][:, 0].long()
    assert set(seeds.tolist()) == {SAYS, PARTLY, SILENT}
    for i, name in enumerate(seeds.tolist()):
        ages = sample(snapshot, name).get("age", np.full(9, -1))
        proposed = sample(snapshot, name).get("proposed", np.zeros((8, 4)))
        frame, mask = int(batch["frame"][i]), batch["mask"][i].numpy()
        length = min(3, 8 - frame)
        assert batch["age"][i] == ages[frame]
        assert batch["next_age"][i] == ages[batch["next_frame"][i]]
        expected = np.zeros(3)
        expected[:length] = ages[frame : frame + length]
        assert batch["ages"][i].tolist() == (expected * mask).tolist()
        assert batch["aged"][i] == pytest.approx(sum(GAMMA**k * expected[k] for k in range(length)))
        wide = np.zeros((3, 4))
        wide[:length, : proposed.shape[1]] = proposed[frame : frame + length]
        assert batch["proposed"][i].tolist() == (wide * mask[:, None]).tolist()


@pytest.mark.usefixtures("described")
def test_a_growing_lake_and_a_mixture_have_it(told: Lake, tmp_path: Path):
    snapshot = build(told, tmp_path / "s")
    growing = GrowingLoader(told, snapshot.spec, 8, 1)
    (batch,) = islice(iter(MixedLoader(TransitionLoader(snapshot, 8, 0), growing)), 1)
    assert batch["ages"].shape == (16, 3)
    assert batch["ages"].dtype == torch.int64


@pytest.mark.usefixtures("described")
def test_an_erasure_keeps_it(told: Lake, tmp_path: Path):
    snapshot = build(told, tmp_path / "s")
    erased = {m.episode_id for m in snapshot.episodes if m.embodiment == "crane"}
    successor = reissue(told, str(tmp_path / "s"), snapshot.digest, erased=erased, now_ns=START).successor
    assert successor is not None
    kept = Snapshot.open(str(tmp_path / "s"), successor)
    assert sample(kept, SAYS)["age"].tolist() == [100 + t for t in range(9)]


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_what_was_built_before_stays_and_is_loaded(
    fleet: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: dict
):
    before = build(fleet, tmp_path / "a", shard_mb=0.003)
    loader = TransitionLoader(before, 12, 7, **mode)
    state, expected = loader.state_dict(), list(islice(iter(loader), 20))
    monkeypatch.setattr(snapshot_row, "ROW", (*snapshot_row.ROW, AGE, PROPOSED))
    assert build(fleet, tmp_path / "b", shard_mb=0.003).digest == before.digest
    assert verify(str(tmp_path / "a"), before.digest) == []
    now = TransitionLoader(before, 12, 7, **mode)
    now.load_state_dict(state)
    for old, new in zip(expected, now, strict=False):
        assert all(torch.equal(old[name], new[name]) for name in old)
        assert new["age"].tolist() == [-1] * 12
        assert not new["proposed"].any()
