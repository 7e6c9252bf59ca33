"""Recordings taken apart: drivers that share a topic, time that starts again."""

import json
from pathlib import Path

import numpy as np
import pytest

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.restarts import restarts
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved
from tests.lwd_core.logs.ros_logs import array, bag, joints

ONE_VECTOR = parse_embodiment("""\
name: bot
control_hz: 50
state:
  - topic: /joint_states
    field: position
    names_field: name
    staleness_ms: 150
    dims: [{name: a1}, {name: finger}, {name: a2}]
action: [{topic: /command, field: data, dims: [{name: u}]}]
""")


def drafted(source: LogSource) -> Embodiment:
    return parse_embodiment(render(infer(source, "bot")))


def two_drivers(folder: Path, finger_until: int = 100) -> LogSource:
    """An arm of two joints at 50 Hz and a finger at 10 Hz on one topic."""
    said = []
    for k in range(100):
        t = START + k * PERIOD
        if k % 5 == 0 and k < finger_until:
            said.append(("/joint_states", t, joints(t, ["finger"], [k / 4])))
        said.append(("/joint_states", t, joints(t, ["a2", "a1"], [-k, k])))
        said.append(("/command", t, array([k])))
    return LogSource(str(bag(folder / "rec", said)))


@pytest.mark.parametrize("by_hand", [True, False])
def test_two_drivers_of_one_topic_each_fill_what_they_have(tmp_path: Path, by_hand: bool):
    source = two_drivers(tmp_path)
    embodiment = ONE_VECTOR if by_hand else drafted(source)
    content = read_log(source, {"bot": embodiment}, Sink())
    (episode,) = content.episodes
    names = [d.name.rpartition("_")[2] for d in embodiment.state_dims]
    rows = dict(zip(names, np.array(episode.steps["state"].to_pylist()).T, strict=True))
    k = (episode.steps["t_ns"].to_numpy() - START) // PERIOD
    assert len(k) >= 99
    np.testing.assert_array_equal(rows["a1"], k)
    np.testing.assert_array_equal(rows["a2"], -k)
    np.testing.assert_array_equal(rows["finger"], (k // 5 * 5) / 4)
    assert all(episode.steps["valid"].to_pylist())
    assert content.salvaged is None
    assert any("only some of its dims" in note for note in content.notes) == by_hand


def test_each_driver_has_its_own_age(tmp_path: Path):
    content = read_log(two_drivers(tmp_path, finger_until=50), {"bot": ONE_VECTOR}, Sink())
    (episode,) = content.episodes
    k = (episode.steps["t_ns"].to_numpy() - START) // PERIOD
    fresh = (k - 45) * PERIOD <= 150e6
    assert episode.steps["valid"].to_pylist() == fresh.tolist()
    assert episode.steps["state_age_ns"].to_pylist()[-1] == (k[-1] - 45) * PERIOD


def test_a_dim_that_no_message_holds_is_named(tmp_path: Path):
    with pytest.raises(
        UnreadableLog, match=r"no message of /joint_states holds finger; name the dims by keys"
    ):
        read_log(two_drivers(tmp_path, finger_until=0), {"bot": ONE_VECTOR}, Sink())


def rollouts(folder: Path, ticks: list[int], origin: int = 0) -> LogSource:
    """Recordings one behind the other, each from one origin of time; an action comes before its state."""
    log = Log({})
    state, action = (log.channel(topic, "S", "jsonschema", "json", b"{}") for topic in ("/state", "/action"))
    for r, count in enumerate(ticks):
        for k in range(count):
            t = origin + k * PERIOD
            log.raw(action, json.dumps({"u": [r, k]}).encode(), t)
            log.raw(state, json.dumps({"q": [r, k, 0]}).encode(), t)
    return LogSource(saved(folder, log.finish()))


@pytest.mark.parametrize("ticks", [[40, 40, 40], [200, 7, 30, 90]])
@pytest.mark.parametrize("origin", [0, START])
def test_rollouts_that_start_again_at_one_time_are_episodes(tmp_path: Path, ticks: list[int], origin: int):
    source = rollouts(tmp_path, ticks, origin)
    draft = drafted(source)
    assert draft.episodes.boundary == "restart"
    content = read_log(source, {"bot": draft}, Sink())
    assert [e.actions for e in content.episodes] == ticks
    assert [e.index_in_log for e in content.episodes] == list(range(len(ticks)))
    assert f"time starts again at message {2 * ticks[0]}" in content.notes[0]
    for r, episode in enumerate(content.episodes):
        state = np.array(episode.steps["state"].to_pylist())
        np.testing.assert_array_equal(state[:, 0], r)
        np.testing.assert_array_equal(state[:, 1], np.arange(len(state)))
        np.testing.assert_array_equal(np.array(episode.steps["action"].to_pylist()), state[: ticks[r], :2])


def test_topics_written_one_behind_the_other_are_no_restart(tmp_path: Path):
    log = Log({})
    for topic in ("/state", "/action"):
        channel = log.channel(topic, "S", "jsonschema", "json", b"{}")
        for k in range(50):
            log.raw(channel, json.dumps({"q": [k]}).encode(), START + k * PERIOD)
    source = LogSource(saved(tmp_path, log.finish()))
    draft = drafted(source)
    assert draft.episodes.boundary == "log"
    (episode,) = read_log(source, {"bot": draft}, Sink()).episodes
    assert episode.actions == 50


def test_disorder_of_a_few_messages_is_no_restart():
    times = np.arange(100) * 10
    times[50:53] = times[50:53][::-1]
    assert not len(restarts(times, 10))
    assert restarts(np.tile(times, 3), 10).tolist() == [100, 200]
