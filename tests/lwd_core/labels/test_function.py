"""A function of one episode becomes a layer: what it may answer, what it sees, what fails."""

import re

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.labels import Finding, Said, batches, check, label
from lwd_core.labels.labeller import run_labellers
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Dim, Embodiment, Feature
from storage_schemas.vocabulary import Verdict
from tests.lwd_core.snapshots.lakes import add_episode

ARM = Embodiment(
    name="arm",
    control_hz=10.0,
    state=(Feature("/state", (Dim("seed"), Dim("t"), Dim("square"))),),
    action=(Feature("/action", (Dim("up"), Dim("down"))),),
)


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Two episodes, of 4 steps and a final state and of 3 steps without one."""
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    add_episode(lake, "long", 4, outcome="failure")
    add_episode(lake, "short", 3, final=False)
    return lake


def said(lake, answer, kind="annotation", *, steps=4):
    """The rows, without their empty columns, that a function leaves of the episode of so many steps."""
    made = (
        check("mine", version=1)(answer) if kind == "quality" else label("mine", version=1, kind=kind)(answer)
    )
    (run,) = run_labellers(lake, [made], now_ns=7, embodiments={"arm": ARM}, where=f"steps = {steps}")
    if run.failed:
        return next(iter(run.failed.values()))
    rows = lake.read("labels", where='true ORDER BY step, "check"').to_pylist()
    names = ("step", "last_step", "check", "value", "text", "detail")
    return [{k: row[k] for k in names if row[k] is not None} for row in rows]


@pytest.mark.parametrize(
    ("answer", "kind", "rows"),
    [
        (True, "annotation", [{"value": 1.0}]),
        (np.float32(2.5), "annotation", [{"value": 2.5}]),
        (np.array(3), "annotation", [{"value": 3.0}]),
        ("spilt", "annotation", [{"text": "spilt"}]),
        (None, "annotation", [{"detail": "nothing found"}]),
        ([], "phase", [{"detail": "nothing found"}]),
        ([1, 2, 3, 4], "progress", [{"step": i, "value": i + 1.0} for i in range(4)]),
        (
            [True, False, False, True, True],
            "annotation",
            [{"step": i, "value": v} for i, v in enumerate([1.0, 0.0, 0.0, 1.0, 1.0])],
        ),
        (np.array([0, np.nan, 1, 1]), "progress", [
            {"step": 0, "value": 0.0}, {"step": 1}, {"step": 2, "value": 1.0}, {"step": 3, "value": 1.0}]),
        ([(0, 1, "reach"), (1, 4, "slip")], "phase", [
            {"step": 0, "last_step": 1, "text": "reach"}, {"step": 1, "last_step": 4, "text": "slip"}]),
        (np.array(["a", "a", "", "b"]), "phase", [
            {"step": 0, "last_step": 1, "text": "a"}, {"step": 3, "last_step": 3, "text": "b"}]),
        ({"n": 2, "w": "x"}, "annotation", [
            {"check": "n", "value": 2.0}, {"check": "w", "text": "x"}]),
        (Said(step=2, value=1.0, detail="x"), "annotation", [{"step": 2, "value": 1.0, "detail": "x"}]),
        (0.5, "reward", [{"value": 0.5}]),
        ([0, 0, 0, 1], "reward", [{"step": i, "value": float(i == 3)} for i in range(4)]),
        (False, "outcome", [{"text": "failure"}]),
        ("success", "outcome", [{"text": "success"}]),
        (None, "outcome", [{"text": "unknown"}]),
        (np.bool_(True), "quality", [{"check": "mine", "text": "pass"}]),
        (False, "quality", [{"check": "mine", "text": "fail"}]),
        (None, "quality", [{"check": "mine", "text": "unknown"}]),
        (Finding(Verdict.FAIL, 3.0, "too far"), "quality", [
            {"check": "mine", "value": 3.0, "text": "fail", "detail": "too far"}]),
        ({"a": True, "b": False}, "quality", [
            {"check": "a", "text": "pass"}, {"check": "b", "text": "fail"}]),
    ],
)  # fmt: skip
def test_what_a_function_may_answer(lake, answer, kind, rows):
    assert _asked(lake, answer, kind) == rows


def _asked(lake, answer, kind):
    def mine(episode):
        return answer

    return said(lake, mine, kind)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ([1, 2, 3], "annotation", "3 values for 4 steps"),
        ([1, 2, 3, 4, 5], "reward", r"5 values for 4 steps; leave the final state's out with \[:-1\]"),
        ([1, 2, np.inf, 4], "reward", "the reward of step 2 is not finite"),
        (float("nan"), "reward", "not finite"),
        ("good", "reward", "no reward"),
        ({"a": 1}, "reward", "kind reward says one thing"),
        ("perhaps", "outcome", "'perhaps' is no outcome"),
        (0.7, "quality", "0.7 is no verdict"),
        ([True] * 4, "quality", r"try .all\(\)"),
        ([(0, 9, "x")], "phase", "steps 0–9 do not lie within 0–4"),
        ([(3, 1, "x")], "phase", "steps 3–1"),
        ([(0, 1)], "phase", "one is .first step, last step, text."),
        (np.zeros((4, 2)), "annotation", r"ndarray of shape \(4, 2\) is no label"),
        (object(), "annotation", "object of shape .* is no label"),
    ],
)
def test_what_is_no_answer_is_the_episodes_failure(lake, answer, kind, reason):
    found = _asked(lake, answer, kind)
    assert isinstance(found, str), found
    assert re.search(reason, found), found
    assert lake.read("labels").num_rows == 0


def test_what_a_function_sees(lake):
    seen = {}

    @label("see", version=1)
    def see(episode):
        seen[len(episode)] = {
            "state": episode["state"],
            "action": episode.action,
            "dim": episode["state.square"],
            "valid": episode["valid"],
            "actor": list(episode["actor"]),
            "about": (episode.task, episode.outcome, episode.fps, len(episode), episode.attributes),
            "cameras": episode.cameras,
        }

    run_labellers(lake, [see], now_ns=1, embodiments={"arm": ARM})
    long, short = seen[4], seen[3]
    assert (long["state"].shape, long["action"].shape) == ((5, 3), (4, 2))
    assert (short["state"].shape, short["action"].shape) == ((3, 3), (3, 2))
    assert long["state"].dtype == np.float32
    np.testing.assert_array_equal(long["dim"], [0, 1, 4, 9, 16])
    np.testing.assert_array_equal(long["action"][:, 0], [1, 2, 3, 4])
    assert long["valid"].all()
    assert long["actor"] == ["policy"] * 5
    assert long["about"] == ("reach", "failure", 10.0, 4, {})
    assert long["cameras"] == []


def test_a_column_or_dim_that_is_not_there_says_which_are(lake):
    def column(episode):
        return episode["xyz"]

    def dim(episode):
        return episode["state.z"]

    def camera(episode):
        return episode.frames("front")

    assert "no such column; there are action, action_age_ns, actor" in said(lake, column)
    assert "there are seed, square, t" in said(lake, dim)
    assert said(lake, camera) == "no frame of camera 'front'; there are none"


def test_an_episode_whose_function_fails_is_counted_and_the_others_are_labelled(lake):
    @label("odd", version=1)
    def odd(episode):
        if len(episode) == 4:
            raise KeyError("grip")
        return 1

    (run,) = run_labellers(lake, [odd], now_ns=1)
    assert (run.total, run.episodes, run.rows) == (2, 1, 1)
    (reason,) = run.failed.values()
    assert reason.startswith("KeyError: 'grip' (test_function.py:")
    (line,) = run.reasons()
    assert line.startswith("1 episodes failed, ")
    (again,) = run_labellers(lake, [odd], now_ns=2)
    assert (again.total, again.episodes, len(again.failed)) == (1, 0, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("a\ud800", "text 'a\\ud800' is no Unicode"),
        ("x" * 65_537, "text of 65537 characters; 65536 are the most"),
        ([(0.5, 2, "x")], "its steps are whole numbers"),
        ([(None, 2, "x")], "its steps are whole numbers"),
        (Said(value="x"), "value 'x' is no number"),
        (Said(text=5), "text 5 is no text"),
        (Said(step="x"), "step 'x' is no whole number"),
        (Finding("maybe"), "'maybe' is no verdict; there are pass, fail, unknown"),
        (Finding("pass", "x"), "value 'x' is no number"),
    ],
)
def test_what_no_column_can_hold_fails_an_episode_and_not_its_batch(lake, answer, reason):
    told = []

    def odd(episode):
        told.append(episode.id)
        return answer if len(told) == 1 else 1.0

    (done,) = run_labellers(lake, [label("odd", version=1)(odd)], now_ns=1)
    assert reason in done.failed[told[0]]
    assert done.episodes == len(told) - 1 > 0


def test_whole_numbers_may_be_numpys(lake):
    function = label("some", version=1)(lambda episode: [(np.float64(0), np.int32(2), "x")])
    assert run_labellers(lake, [function], now_ns=1)[0].failed == {}


def test_a_function_neither_ends_the_run_nor_writes_into_its_answer(lake, capsys):
    def leaves(episode):
        print("bye")
        raise SystemExit(3)

    (done,) = run_labellers(lake, [label("leaves", version=1)(leaves)], now_ns=1)
    assert done.episodes == 0
    assert all("asked to end the process (3)" in reason for reason in done.failed.values())
    assert done.failed
    assert capsys.readouterr().out == ""


def test_what_was_labelled_before_an_interruption_stays(lake, monkeypatch):
    monkeypatch.setattr(batches, "FIRST_EPISODES", 1)
    seen = []

    @label("slow", version=1)
    def slow(episode):
        if seen:
            raise KeyboardInterrupt
        seen.append(episode.id)
        return 1

    with pytest.raises(KeyboardInterrupt):
        run_labellers(lake, [slow], now_ns=1)
    assert lake.read("labels").column("episode_id").to_pylist() == seen


def test_batches_are_bounded_and_change_nothing(lake, monkeypatch):
    for i in range(7):
        add_episode(lake, i, 5 + i, day=f"2026-01-0{1 + i % 3}")
    monkeypatch.setattr(batches, "STEPS_AT_ONCE", 12)

    @label("sum", version=1)
    def total(episode):
        return episode["state"][:, 1].sum()

    (run,) = run_labellers(lake, [total], now_ns=1)
    assert run.episodes == 9
    rows = lake.sql("SELECT e.steps, l.value FROM labels l JOIN episodes e USING (episode_id)").to_pylist()
    assert {row["steps"]: row["value"] for row in rows if row["steps"] > 4} == {
        n: n * (n + 1) / 2 for n in range(5, 12)
    }


def test_a_decorated_function_is_still_a_function():
    @label("twice", version=3)
    def twice(episode):
        """Two of them.

        More."""
        return 2 * episode

    assert twice(4) == 8
    assert (twice.layer_id, twice.description) == ("twice@3", "Two of them.")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: label("Spill!", version=1)(print), "name is letters"),
        (lambda: label("spill", version=0)(print), "version 0 is none"),
        (lambda: label("spill", version=1, kind="quality"), "checks have @check"),
        (lambda: label("spill", version=1, kind="mood"), "kind 'mood' is none; it is one of annotation"),
        (lambda: check("a@1", version=1)(print), "check 'a@1': its name"),
    ],
)
def test_a_name_version_or_kind_that_can_not_be(make, said):
    with pytest.raises(UserError, match=said):
        make()
