"""What is masked may be anything, not-a-number too, and reaches nothing that learns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load as load_safetensors

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.pool import RowPool
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.loader.transitions import Expansion
from lwd_core.rl.batch import prepare
from lwd_core.rl.flow import flow_matching_loss
from lwd_core.rl.policy import Normaliser
from lwd_core.snapshots.reissue import reissue
from storage_schemas.tables import TABLES
from tests.lwd_core.loader.test_transitions import plain, rows_of
from tests.lwd_core.snapshots.lakes import START, add_episode
from tests.lwd_core.snapshots.test_build import build, files, label


def spoil(lake: Lake, episode: str, column: str, step: int, number: float) -> None:
    """Put a number into one vector of a step that is not valid."""
    rows = lake.read("steps", where="episode_id = ? ORDER BY step", params=[episode]).to_pylist()
    rows[step][column][0] = number
    assert not rows[step]["valid"]
    lake.replace("steps", pa.Table.from_pylist(rows, TABLES["steps"].schema), {"episode_id": [episode]})


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["state", "action"])
def test_one_number_stops_nothing(lake: Lake, tmp_path: Path, column: str, number: float) -> None:
    bad = add_episode(lake, 1, 12, invalid=[5])
    add_episode(lake, 2, 12)
    spoil(lake, bad, column, 5, number)
    snapshot = build(lake, tmp_path / "s", chunk=4)
    for moments in snapshot.stats.values():
        assert all(np.isfinite(values).all() for values in moments.values())
    member = next(m for m in snapshot.episodes if m.episode_id == bad)
    tensors = load_safetensors(files(snapshot)[member.shard][member.offset : member.offset + member.bytes])
    assert not tensors["valid"][5]
    assert not tensors["state"][5].any()
    assert not tensors["action"][5].any()
    assert tensors["state"][4].tolist() == [0, 4, 16]
    batch = TransitionLoader(snapshot, 256, 0).batch(0)
    assert all(
        torch.isfinite(batch[c]).all() for c in ("state", "next_state", "action", "reward", "discount")
    )
    assert (batch["mask"] == 0).any()


def test_a_snapshot_of_before_may_hold_what_is_not_a_number() -> None:
    rows = rows_of([plain(8, valid=[True] * 4 + [False] + [True] * 4)])
    rows["action"][4] = np.nan
    expansion = Expansion(4, 1, 0.9, 1)

    class Nothing(EpisodeColumns):
        def __init__(self) -> None: ...
        def of_episodes(self, episode, columns):
            return {}

    pool = RowPool(rows, expansion.of(rows), Nothing(), 4)
    found = pool.gather(np.arange(len(pool)), ("action", "mask"))
    assert np.isfinite(found["action"]).all()
    assert found["action"][found["mask"] == 0].sum() == 0


def test_the_losses_choose_and_do_not_multiply() -> None:
    action = torch.rand(3, 4, 2)
    action[1, 2] = torch.nan
    mask = torch.ones(3, 4)
    mask[1, 2] = 0
    raw = {"state": torch.rand(3, 2), "next_state": torch.rand(3, 2), "action": action, "mask": mask}
    raw |= {"action_dim_mask": torch.ones(3, 2), "instruction": torch.zeros(3, dtype=torch.int64)}
    raw |= {name: torch.zeros(3) for name in ("reward", "discount", "success", "human")}
    raw |= {"task": torch.zeros(3, dtype=torch.int64)}
    batch = prepare(raw, Normaliser.identity(2, 2), torch.zeros(1, 4))
    assert torch.isfinite(batch.action).all()

    weight = torch.ones(1, requires_grad=True)

    class Flow:
        def velocity(self, x, w):
            return torch.where(batch.mask > 0, weight * x, torch.inf)

    loss, _ = flow_matching_loss(Flow(), batch.action, batch.mask, torch.randn(3, 8), torch.rand(3, 1))  # type: ignore[arg-type]
    loss.backward()
    assert torch.isfinite(loss)
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()


def test_nothing_valid_is_one_line(lake: Lake, tmp_path: Path) -> None:
    add_episode(lake, 1, 4, invalid=range(5))
    with pytest.raises(UserError, match="embodiment arm: not one valid action .* `lwd logs remap`") as error:
        build(lake, tmp_path / "s")
    assert "\n" not in str(error.value)


def test_an_erasure_that_leaves_nothing_valid_leaves_no_successor(lake: Lake, tmp_path: Path) -> None:
    erased = add_episode(lake, 1, 4)
    add_episode(lake, 2, 4, invalid=range(5))
    snapshot = build(lake, tmp_path / "s")
    done = reissue(lake, str(tmp_path / "s"), snapshot.digest, erased={erased}, now_ns=START)
    assert done.successor is None


def test_a_reward_that_is_no_number_is_named(lake: Lake, tmp_path: Path) -> None:
    episode = add_episode(lake, 1, 4)
    label(lake, "reward.dense@1", [{"episode_id": episode, "step": 1, "value": float("nan")}])
    with pytest.raises(UserError, match="reward.dense@1: episode .* has step 1, value nan"):
        build(lake, tmp_path / "s", labels={"reward": "reward.dense@1"})
