"""The comparison on OGBench, with a point on a table in the place of its simulator and of JAX."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ogbench import __main__ as program
from benchmarks.ogbench import run
from benchmarks.ogbench.data import facts, snapshot_of
from benchmarks.ogbench.judge import receive, send, successes
from benchmarks.ogbench.page import BEGIN, END, into, keep, tables
from benchmarks.ogbench.peer.train import transitions
from benchmarks.ogbench.peers import REQUIREMENTS, Peers
from benchmarks.ogbench.plan import Comparison, load_comparison
from benchmarks.ogbench.play import VALUES, Grid
from benchmarks.ogbench.point import GOAL, NEAR, PointWorlds, play
from lwd_core.errors import UserError
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.settings import Settings
from lwd_core.training.config import TrainConfig

ROOT = Path(__file__).parents[2]


class PointPeers(Peers):
    """Makes play of the point, and a curve out of thin air."""

    def __init__(self, home: Path, *_: str) -> None:
        super().__init__(home)
        self.asked: list[str] = []

    @property
    def script(self) -> Path:
        return Path("script")

    def run(self, program: str, *arguments: Any) -> str:
        self.asked.append(program)
        if program == "generate":
            np.savez(arguments[-1], **play(1, 1_000, seed=arguments[-2]))
        if program == "relabel":
            arguments[1].write_bytes(Path(arguments[2]).read_bytes())
        return ""

    def train(self, job: dict[str, Any]) -> list[list[int]]:
        self.asked.append("train")
        assert (job["agent"]["horizon_length"], job["reward"]) == (5, "cost")
        return [[2, 0, 2], [4, 1, 2]]


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[PointPeers]:
    made: list[PointPeers] = []

    def new(home: Path, *_: str) -> PointPeers:
        made.append(PointPeers(home))
        return made[-1]

    monkeypatch.setattr(program, "Peers", new)
    monkeypatch.setattr(run, "RemoteWorlds", lambda _peers, _environment, count: PointWorlds(count))
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_every_learner_has_a_curve_and_a_second_call_makes_nothing(
    tmp_path: Path,
    peers: list[PointPeers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = tmp_path / "ogbench.md"
    page.write_text(f"# By hand\n\n{BEGIN.format('tiny')}\nold\n{END}\n\nand this\n")
    words = ["--plan", "tiny", "--seeds", "0", "--home", tmp_path / "home", "--page", page]
    monkeypatch.setattr(sys, "argv", ["ogbench", *map(str, words)])
    assert program.main() == 0
    text = page.read_text()
    assert text.startswith("# By hand")
    assert text.endswith("and this\n")
    assert "old" not in text
    for contender in load_comparison("tiny").learners.values():
        assert f"| {contender.title} | 0 |" in text
    rows = json.loads(page.with_suffix(".json").read_text())
    assert {row["learner"]: [point[0] for point in row["curve"]] for row in rows} == {
        "official": [2, 4], "policy-td": [2, 4], "divl": [2, 4]
    }  # fmt: skip
    assert all(point[2] == 2 for row in rows for point in row["curve"])
    assert rows[0]["data"]["transitions"] == 1_000
    assert peers[0].asked == ["generate", "relabel", "train"]
    # a curve that was cut off before its file stood is taken up from its points and checkpoints
    (tmp_path / "home" / "curves" / "cube-single-divl-0.json").unlink()
    assert program.main() == 0
    again = json.loads(page.with_suffix(".json").read_text())
    assert [row["curve"] for row in again] == [row["curve"] for row in rows]
    assert peers[1].asked == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--learners qam", "--learners: no 'qam' in the plan"),
        ("--plan point --tasks cube-single", "--tasks: no 'cube-single' in the plan; there are point"),
        ("--seeds 0,one", "--seeds: 'one' is no number"),
        ("--plan smal", "plan 'smal': no such file; use one of full, point, small, tiny"),
    ],
)
def test_a_slip_in_an_option_is_told(
    words: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys, "argv", ["ogbench", *words.split(), "--home", str(tmp_path)])
    assert program.main() == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["full", "small", "point", "tiny"])
def test_every_learner_of_a_plan_is_one(name: str) -> None:
    plan = load_comparison(name)
    for learner, contender in plan.learners.items():
        assert contender.released == learner.startswith("official")
        if contender.released:  # a reward 100 times as small needs a λ as much smaller
            scale = {"cost": 1.0, "goal": 1 / (1 - plan.gamma)}[contender.reward]
            assert plan.agent(learner)["inv_temp"] == pytest.approx(scale * plan.official["inv_temp"])
            continue
        config = TrainConfig.parse(plan.run("a", learner, 0, "b"))
        assert config.critic.zero_q == learner.endswith("-zero")
        assert (config.critic.hidden, config.n_step) == (
            plan.training["critic"]["hidden"],
            10 if "-n" in learner else 1,
        )


def test_all_trials_are_counted_in_the_order_of_their_seeds() -> None:
    def there(seen: np.ndarray) -> np.ndarray:
        return np.repeat(np.clip((GOAL - seen) * 10, -1, 1)[:, None], 5, axis=1)

    def half(seen: np.ndarray) -> np.ndarray:
        chunks = there(seen)
        chunks[::2] = -1
        return chunks

    assert successes(PointWorlds(2), there, range(5)) == [True] * 5
    assert successes(PointWorlds(2), half, range(5)) == [False, True, False, True, False]


def test_a_trial_that_is_over_stands_still() -> None:
    worlds = PointWorlds(1)
    seen, over = worlds.reset([0]), np.zeros(1, bool)
    while not over.all():
        seen, over, success = worlds.step(np.repeat(np.clip((GOAL - seen) * 10, -1, 1)[:, None], 5, axis=1))
        assert success.all() == over.all()
    after, over, _ = worlds.step(np.full((1, 5, 2), -1.0))
    np.testing.assert_array_equal(after, seen)
    assert np.linalg.norm(after - GOAL) < NEAR


def test_play_of_the_point_comes_to_the_goal_now_and_then(tmp_path: Path) -> None:
    made = play(5, 1_000)
    np.savez(tmp_path / "play.npz", **made)
    found = facts(tmp_path / "play.npz")
    assert found["transitions"] == 5_000
    assert 3 <= found["arrivals"] <= 50
    moved = np.abs(np.diff(made["observations"].reshape(5, 1_001, 2), axis=1)).max()
    assert moved <= 0.05 + 1e-6


def test_a_median_of_play_does_not_see_the_goal_and_a_mean_does() -> None:
    grid = Grid.of(7)
    middle = 3 * 8
    known = {name: grid.value(backup, n, rounds=50) for name, (backup, n) in VALUES.items()}
    best, divl, mean = (known[name] for name in (next(iter(known)), "DIVL, τ_base .6", "mean: play itself"))
    assert best[0][middle] == pytest.approx(0.99**5, abs=1e-4)  # two moves away: one before the last
    assert divl[0][middle] < 0.01
    assert 0.02 < mean[0][middle] < best[0][middle]
    assert grid.reached(best[1], 30) == grid.reached(mean[1], 30) == 1
    assert grid.reached(divl[1], 30) < 0.4


def test_arrays_go_over_a_pipe_as_they_are() -> None:
    stream, sent = io.BytesIO(), [np.arange(3), np.zeros((2, 5, 4), np.float32), np.array([True, False])]
    send(stream, *sent)
    stream.seek(0)
    for array in sent:
        got = receive(stream)
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)
    with pytest.raises(EOFError):
        receive(stream)


def test_a_curve_of_another_plan_is_left_out(tmp_path: Path) -> None:
    plan = load_comparison("full")
    task = next(iter(plan.tasks))

    def curve(learner: str, seed: int, digest: str, won: int) -> dict[str, Any]:
        data = {"transitions": 1000, "arrivals": 7}
        return {"task": task, "learner": learner, "seed": seed, "digest": digest, "data": data,
                "curve": [[2500, won, 50]]}  # fmt: skip

    here = plan.identity(task, "divl")
    old = [curve("divl", 0, here, 10), curve("divl", 1, "another", 50), curve("gone", 0, here, 50)]
    record = tmp_path / "curves.json"
    record.write_text(json.dumps(old))
    old.append({**curve("divl", 0, "another", 3), "task": "of another plan"})
    record.write_text(json.dumps(old))
    rows = keep(plan, record, [curve("divl", 2, here, 15)])
    assert "of another plan" in record.read_text()
    assert [row["seed"] for row in rows] == [0, 2]
    assert "| DIVL + QAM | 0, 2 | .25 [.18, .34] (.20, .30) |" in tables(plan, rows)


def test_what_a_curve_depends_on_is_in_its_digest() -> None:
    plan = load_comparison("full")

    def changed(**over: Any) -> Comparison:
        return Comparison.model_validate({**plan.model_dump(), **over})

    of = {learner: plan.identity("cube-single", learner) for learner in plan.learners}
    assert len(set(of.values())) == len(of)
    assert changed(worlds=1).identity("cube-single", "divl") == of["divl"]
    assert changed(updates=1).identity("cube-single", "divl") != of["divl"]
    assert changed(official={}).identity("cube-single", "divl") == of["divl"]
    assert changed(training={}).identity("cube-single", "official") == of["official"]
    assert changed(official={}).identity("cube-single", "official") != of["official"]


def test_tables_come_into_a_page_that_has_no_place_for_them() -> None:
    once = into("# A page\n", "tiny", "first\n")
    twice = into(once, "tiny", "second\n")
    assert twice.count(BEGIN.format("tiny")) == 1
    assert "first" not in twice
    assert "first" in into(once, "full", "second\n")


def test_arrivals_are_counted_within_trajectories(tmp_path: Path) -> None:
    masks = np.array([1, 0, 0, 1, 0, 0, 0, 1, 1.0])
    valids = np.array([1, 1, 1, 0, 1, 1, 0, 1, 0.0])
    np.savez(tmp_path / "a.npz", masks=masks, valids=valids)
    assert facts(tmp_path / "a.npz") == {"transitions": 6, "arrivals": 1}


def test_the_released_code_sees_the_rows_that_act_each_with_the_state_after_it(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        observations=np.arange(6.0)[:, None],
        actions=np.array([[1.0], [0.5], [9.0], [-1.0], [0.0], [9.0]]),
        terminals=np.array([0, 1, 1, 0, 1, 1.0]),
        valids=np.array([1, 1, 0, 1, 1, 0.0]),
        rewards=np.array([-3, -2, -1, -3, 0, 0.0]),
        masks=np.array([1, 1, 1, 1, 0, 0.0]),
    )
    found = transitions(str(tmp_path / "a.npz"))
    assert found["observations"].ravel().tolist() == [0, 1, 3, 4]
    assert found["next_observations"].ravel().tolist() == [1, 2, 4, 5]
    assert found["terminals"].tolist() == [0, 1, 0, 1]
    assert found["rewards"].tolist() == [-1, -1, -1, 0]  # sparse, whatever parts of the goal are reached
    assert transitions(str(tmp_path / "a.npz"), "goal")["rewards"].tolist() == [0, 0, 0, 1]
    assert np.abs(found["actions"]).max() < 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_either_reward_prefers_the_same(tmp_path: Path) -> None:
    plan, settings = load_comparison("point"), Settings(home=str(tmp_path / "home"))
    np.savez(tmp_path / "point.npz", **play(3, 1_000))
    seen: dict[str, dict[str, np.ndarray]] = {}
    for reward in ("goal", "cost"):
        snapshot = snapshot_of(plan, "point", tmp_path / "point.npz", settings, reward)
        raw = next(iter(TransitionLoader(snapshot, 2_000, 0)))
        seen[reward] = {name: np.asarray(raw[name], np.float64) for name in ("reward", "discount", "mask")}
    goal, cost = seen["goal"], seen["cost"]
    np.testing.assert_array_equal(goal["discount"], cost["discount"])
    frames, gamma = goal["mask"].sum(1), plan.gamma
    np.testing.assert_allclose(cost["reward"], -(1 - gamma**frames) / (1 - gamma), rtol=1e-5)
    # Q is moved and scaled: (γ Q − 1) / (1 − γ)
    ends = goal["discount"] == 0
    assert ends.any()
    np.testing.assert_allclose(
        cost["reward"][ends], (gamma * goal["reward"][ends] - 1) / (1 - gamma), rtol=1e-5
    )


def test_a_peer_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peers, "python", Path(sys.executable))
    with pytest.raises(UserError, match="No module named"):
        Peers(tmp_path).run("nothing")


def test_the_peers_environment_is_pinned_and_fits_the_projects_simulator() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and line[0] != "#"]
    assert all(line.count("==") == 1 for line in lines)
    ours = (ROOT / "constraints.txt").read_text().splitlines()
    assert {line for line in lines if line.startswith(("mujoco=", "gymnasium=", "numpy="))} <= set(ours)
