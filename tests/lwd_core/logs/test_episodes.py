"""What a log says of an episode besides numbers: outcome, control, task."""

from pathlib import Path

import pytest

from lwd_core.logs.content import EpisodeData
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Event, Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved, stamp

N = 30


def read(folder: Path, events: list[tuple[int, str, dict[str, str]]], more: str = "") -> list[EpisodeData]:
    """Episodes of a log of N ticks with these events: tick, kind, attributes."""
    arm = parse_embodiment(f"""\
name: arm
control_hz: 50
time: {{ticks: /state}}
state: [{{topic: /state, field: values, dims: [{{name: a}}]}}]
action: [{{topic: /action, field: values, dims: [{{name: u}}]}}]
events: {{topic: /event, start: [go], end: [stop], intervention_on: [take], intervention_off: [give]}}
episodes: {{boundary: events}}
{more}""")
    log = Log({"policy_id": "p9", "operator": "x"})
    for i in range(N):
        t = START + i * PERIOD
        for tick, kind, attributes in events:
            if tick == i:
                log.write("/event", Event(timestamp=stamp(t), kind=kind, attributes=attributes), t)
        log.write("/state", Vector(values=[i]), t)
        log.write("/action", Vector(values=[i]), t)
    return list(read_log(LogSource(saved(folder, log.finish())), {"arm": arm}, Sink()).episodes)


GO, STOP = (0, "go", {}), (N - 1, "stop", {})


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([], ("unknown", "nobody", "truncated")),
        ([(20, "success", {})], ("success", "robot", "terminated")),
        ([(20, "failure", {}), (21, "success", {})], ("success", "robot", "terminated")),
        ([(20, "success", {"by": "person"}), (25, "failure", {})], ("success", "person", "terminated")),
        ([(20, "success", {}), (25, "failure", {"by": "operator"})], ("failure", "person", "truncated")),
    ],
)
def test_verdicts(tmp_path: Path, events: list, verdict: tuple[str, str, str]):
    (episode,) = read(tmp_path, [GO, *events, STOP])
    assert (episode.outcome, episode.outcome_from, episode.end) == verdict


def test_what_the_end_event_says_counts(tmp_path: Path):
    (episode,) = read(
        tmp_path, [GO, (20, "success", {}), (N - 1, "stop", {"end": "truncated", "why": "time"})]
    )
    assert episode.end == "truncated"
    assert episode.attributes["why"] == "time"


def test_interventions_by_events_alone(tmp_path: Path):
    take = (10, "take", {"reason": "unsafe", "operator": "bo"})
    (episode,) = read(tmp_path, [GO, take, (15, "give", {}), (20, "take", {"reason": "it looked odd"}), STOP])
    rows = [(r["first_step"], r["kind"], r["who"], r["reason"]) for r in episode.segments.to_pylist()]
    assert rows == [
        (0, "autonomous", "p9", None),
        (10, "intervention", "bo", "unsafe"),
        (15, "autonomous", "p9", None),
        (20, "intervention", "x", "unstated"),  # the log's own operator
    ]
    assert "it looked odd" in episode.attributes.values()


def test_an_episode_ends_where_the_next_begins_or_the_log_does(tmp_path: Path):
    first, second = read(tmp_path, [GO, (12, "go", {"task": "b"})])
    assert (first.actions, first.end) == (12, "truncated")
    assert (second.actions, second.end, second.task) == (18, "truncated", "b")


def test_ticks_outside_of_episodes_belong_to_none(tmp_path: Path):
    (episode,) = read(tmp_path, [(5, "go", {}), (14, "stop", {})])
    assert [r[0] for r in episode.steps["state"].to_pylist()] == [*range(5, 15), 15]
    assert episode.actions == 10


def test_tasks_by_name_instruction_or_default(tmp_path: Path):
    said = {"instruction": "Fold the towel!"}
    assert read(tmp_path, [(0, "go", said), STOP])[0].task == "fold-the-towel"
    names = 'task: {names: {"Fold the towel!": towel}}\n'
    assert read(tmp_path, [(0, "go", said), STOP], names)[0].task == "towel"
    (episode,) = read(tmp_path, [GO, STOP], "task: {default: idle, instruction: wait}\n")
    assert (episode.task, episode.instruction) == ("idle", "wait")
    (episode,) = read(tmp_path, [(0, "go", {"source": "rehearsal"}), STOP])
    assert (episode.source, episode.attributes["source_said"]) == ("rollout", "rehearsal")
