"""A lake that is followed is seen by features too: those of new episodes are made as they come, and kept."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.features.build import build_features
from lwd_core.features.files import known
from lwd_core.features.loader import FeatureLoader
from lwd_core.features.table import FeatureTable
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.spec import SnapshotSpec
from tests.lwd_core.features.tiny import tiny
from tests.lwd_core.fleet.seeing import Looker
from tests.lwd_core.loader.test_seen import SIZE, SPEC, Fleet, decoded


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_what_came_since_is_looked_at_once_by_the_bits_it_was_acted_on(fleet: Fleet) -> None:
    first, second, extractor = Looker(("top", "side")), Looker(("top", "side")), tiny(0, SIZE, SIZE)

    def acted_on(policy: Looker) -> set[bytes]:
        """Features of what the policy was shown, as it would have seen them."""
        pictures = np.stack([decoded(shown["top"]) for shown in policy.shown])
        return {row.astype(np.float32).tobytes() for row in extractor(pictures)}

    fleet.day(first, [1])
    spec = SnapshotSpec.parse(SPEC)
    table = FeatureTable(fleet.lake.place, extractor)
    growing = GrowingLoader(fleet.lake, spec, 16, 5, poll_every=4)
    loader = FeatureLoader(growing, table, following=True, making=True)
    batches = list(islice(loader, 4))
    fleet.day(second, [2])
    batches += list(islice(loader, 8))
    drawn = [{row.tobytes() for row in batch["features"][:, 0].numpy()} for batch in batches]
    assert set.union(*drawn[:8]) == acted_on(first)
    assert set.union(*drawn[8:]) == acted_on(first) | acted_on(second)
    assert all(batch["next_features_mask"].all() for batch in batches)
    rows = fleet.lake.read("steps", columns=["frames"])["frames"].to_pylist()
    places = {(f["shard"], f["offset"]) for shown in rows for f in shown or ()}
    kept = {(s, int(o)) for s in {s for s, _ in places} for o in known(fleet.lake.place, extractor.layer, s)}
    assert kept <= places
    assert len(kept) == len(table.values)
    made = build_features(fleet.lake, extractor)
    assert (made.before, made.frames) == (len(kept), len(places) - len(kept))
    state = loader.state_dict()
    again = FeatureLoader(
        GrowingLoader(fleet.lake, spec, 16, 5, poll_every=4),
        FeatureTable(fleet.lake.place, extractor),
        following=True,
    )
    again.load_state_dict(state | {"step": 6})
    for before, after in zip(batches[6:], islice(again, 6), strict=True):
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_camera_that_an_embodiment_has_not_is_masked(fleet: Fleet) -> None:
    fleet.day(Looker(), [1])
    extractor, snapshot = tiny(0, SIZE, SIZE), fleet.snapshot(cameras=["top", "wrist"])
    build_features(fleet.lake, extractor, cameras=["top"])
    loader = FeatureLoader(TransitionLoader(snapshot, 8, 0), FeatureTable(fleet.lake.place, extractor))
    batch = loader.batch(0)
    assert batch["features_mask"].tolist() == [[True, False]] * 8
    assert not batch["features"][:, 1].any()
    assert batch["features"][:, 0].any(1).all()


def test_a_lake_that_is_only_read_is_learned_from(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(fleet.lake.place.root)

    def refusing(dir: Path, prefix: str) -> Any:
        if dir == root:
            raise PermissionError(dir)
        return TemporaryFile(dir=dir, prefix=prefix)

    monkeypatch.setattr("lwd_core.features.table.TemporaryFile", refusing)
    assert FeatureTable(fleet.lake.place, tiny()).values.shape == (0, tiny().width)


def test_a_picture_damaged_since_the_snapshot_is_named_when_it_is_drawn(fleet: Fleet) -> None:
    fleet.day(Looker(), [1, 2])
    extractor, snapshot = tiny(0, SIZE, SIZE), fleet.snapshot()
    shown = fleet.lake.sql("SELECT frames[1] AS frame FROM steps WHERE step = 5 ORDER BY episode_id")
    frame = shown["frame"][0].as_py()
    path = Path(fleet.lake.path(frame["shard"]))
    whole = path.read_bytes()
    end = frame["offset"] + frame["size"]
    path.write_bytes(whole[: frame["offset"] + 2] + bytes(frame["size"] - 2) + whole[end:])
    assert len(build_features(fleet.lake, extractor).faults) == 1
    loader = FeatureLoader(TransitionLoader(snapshot, 64, 0), FeatureTable(fleet.lake.place, extractor))
    with pytest.raises(
        UserError, match=rf"{frame['shard']}: the frame at byte {frame['offset']} has no feat"
    ):
        list(islice(loader, 4))
