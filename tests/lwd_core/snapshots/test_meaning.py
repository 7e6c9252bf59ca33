"""What an outcome means for what is learned: unknown is no success, a success is the end, a layer decides."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from tests.lwd_core.snapshots.lakes import add_episode
from tests.lwd_core.snapshots.test_build import build, label, rewards


def last_transitions(snapshot: Snapshot) -> dict[str, tuple[float, float]]:
    """Reward and discount of each episode's last action."""
    ids = [m.episode_id for m in snapshot.episodes]
    batch = TransitionLoader(snapshot, 512, 0, chunk=1, n_step=1).batch(0)
    found = {}
    for i, identity in enumerate(ids):
        steps = snapshot.episodes[i].steps
        at = np.flatnonzero((batch["episode"] == i) & (batch["frame"] == steps - 1))[0]
        found[identity] = (batch["reward"][at].item(), batch["discount"][at].item())
    return found


@pytest.mark.parametrize("source", ["demonstration", "rollout", "online", "play"])
def test_unknown_is_not_a_success(lake: Lake, tmp_path: Path, source: str) -> None:
    unknown = add_episode(lake, 1, 4, source=source, outcome="unknown", end="truncated")
    snapshot = build(lake, tmp_path / "s", gamma=0.5)
    (member,) = snapshot.episodes
    assert (member.success, member.end) == (False, "truncated")
    assert last_transitions(snapshot) == {unknown: (0.0, 0.5)}


def test_in_old_lakes_a_demonstration_nobody_judged_is_a_success(lake: Lake, tmp_path: Path) -> None:
    old = {"outcome": "unknown", "end": "truncated", "embodiment_digest": None}
    shown, ran = (add_episode(lake, s, 4, source=s, **old) for s in ("demonstration", "rollout"))
    assert last_transitions(build(lake, tmp_path / "s", gamma=0.5)) == {shown: (1.0, 0.0), ran: (0.0, 0.5)}


@pytest.mark.parametrize("end", ["truncated", "terminated"])
@pytest.mark.parametrize("source", ["demonstration", "rollout", "online"])
def test_behind_a_success_nothing_is_expected(lake: Lake, tmp_path: Path, source: str, end: str) -> None:
    won = add_episode(lake, 1, 4, source=source, end=end)
    lost = add_episode(lake, 2, 4, source=source, outcome="failure", end="truncated")
    fell = add_episode(lake, 3, 4, source=source, outcome="failure", end="terminated")
    snapshot = build(lake, tmp_path / "s", gamma=0.5)
    assert last_transitions(snapshot) == {won: (1.0, 0.0), lost: (0.0, 0.5), fell: (0.0, 0.0)}
    assert snapshot.manifest.counts["episodes_by_end"] == {"terminated": 2, "truncated": 1}


def test_the_lake_that_is_followed_means_the_same(lake: Lake) -> None:
    add_episode(lake, 1, 4, outcome="success", end="truncated")
    add_episode(lake, 2, 4, source="demonstration", outcome="unknown", end="truncated")
    loader = GrowingLoader(lake, SnapshotSpec.parse({"name": "f", "chunk": 1, "gamma": 0.5}), 256, 0)
    batch = loader.batch(0)
    last = batch["frame"] == 3
    columns = (batch[c][last].tolist() for c in ("reward", "discount", "success"))
    assert sorted(set(zip(*columns, strict=True))) == [(0.0, 0.5, False), (1.0, 0.0, True)]


@pytest.fixture
def judged(lake: Lake) -> tuple[Lake, dict[str, str]]:
    """Four episodes that say success of themselves; the judge agrees with two of them."""
    ids = {name: add_episode(lake, name, 3, end="truncated") for name in ("a", "b", "c", "d")}
    said = {"a": "success", "b": "failure", "c": "success", "d": "unknown"}
    label(lake, "judge@1", [{"episode_id": ids[n], "text": t} for n, t in said.items()], "outcome")
    return lake, ids


@pytest.mark.parametrize(
    "asked",
    [
        {"outcomes": ["success"]},
        {"where": "outcome = 'success'"},
        {"where": "episodes.outcome = 'success'"},
        {"buffers": [{"name": "good", "where": "outcome = 'success'"}]},
    ],
)
def test_whatever_is_asked_of_outcomes_is_asked_of_the_layer(
    judged: tuple[Lake, dict[str, str]], tmp_path: Path, asked: dict
) -> None:
    lake, ids = judged
    snapshot = build(lake, tmp_path / "s", labels={"outcome": "judge@1"}, **asked)
    assert {m.episode_id for m in snapshot.episodes} == {ids["a"], ids["c"]}
    assert {(m.outcome, m.success, m.end) for m in snapshot.episodes} == {("success", True, "terminated")}


def test_a_layer_may_call_a_failure_what_called_itself_a_success(
    judged: tuple[Lake, dict[str, str]], tmp_path: Path
) -> None:
    lake, ids = judged
    failed = build(lake, tmp_path / "s", labels={"outcome": "judge@1"}, outcomes=["failure"])
    assert rewards(failed) == {ids["b"]: [0, 0, 0]}
    everything = build(lake, tmp_path / "s", labels={"outcome": "judge@1"})
    assert {m.episode_id for m in everything.episodes if m.success} == {ids["a"], ids["c"]}


@pytest.mark.parametrize(
    "asked", [{}, {"outcomes": ["success"]}, {"where": "outcome = 'success' AND task = 'reach'"}]
)
def test_an_episode_the_layer_says_nothing_of_is_named(
    judged: tuple[Lake, dict[str, str]], tmp_path: Path, asked: dict
) -> None:
    lake, _ = judged
    new = add_episode(lake, "e", 3, outcome="failure")
    with pytest.raises(UserError, match=f"label layer judge@1: no label for 1 of .*first {new}"):
        build(lake, tmp_path / "s", labels={"outcome": "judge@1"}, **asked)
    other = build(
        lake,
        tmp_path / "s",
        labels={"outcome": "judge@1"},
        where="task = 'push' OR steps < 3 OR episode_id <> '" + new + "'",
    )
    assert len(other.episodes) == 4


def test_two_words_of_one_episode_and_words_of_no_outcome_are_named(
    judged: tuple[Lake, dict[str, str]], tmp_path: Path
) -> None:
    lake, ids = judged
    label(lake, "judge@1", [{"episode_id": ids["a"], "step": 1, "text": "failure"}], "outcome")
    with pytest.raises(UserError, match=f"judge@1: no label for 1 of 4 episodes .first {ids['a']}"):
        build(lake, tmp_path / "s", labels={"outcome": "judge@1"})
    label(
        lake, "quality@1", [{"episode_id": i, "check": "x", "text": "pass"} for i in ids.values()], "quality"
    )
    with pytest.raises(
        UserError, match="quality@1: says 'pass' of episode .*; a layer of outcomes says success"
    ):
        build(lake, tmp_path / "s", labels={"outcome": "quality@1"})
