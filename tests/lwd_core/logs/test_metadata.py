"""What a log's metadata says of its episodes."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.logs.content import LogContent
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved

BOT = """\
name: bot
control_hz: 50
time: {ticks: /state}
state: [{topic: /state, field: values, dims: [{name: a}]}]
action: [{topic: /action, field: values, dims: [{name: u}]}]
"""


def read(folder: Path, records: dict[str, dict[str, str]], more: str = "", pause: int = 0) -> LogContent:
    log = Log()
    for name, said in records.items():
        log.writer.add_metadata(name, said)
    for i in range(20):
        t = START + i * PERIOD + (pause if i >= 10 else 0)
        log.write("/state", Vector(values=[i]), t)
        log.write("/action", Vector(values=[i]), t)
    source = LogSource(saved(folder, log.finish()))
    return read_log(source, {"bot": parse_embodiment(BOT + more)}, Sink())


def test_well_known_keys_are_read_without_being_asked_for(tmp_path: Path):
    said = {"Task": "fold", "language_instruction": "fold the towel", "success": "True", "operator": "ann"}
    (episode,) = read(tmp_path, {"episode": said}, "actor: {default: human}").episodes
    assert (episode.task, episode.instruction) == ("fold", "fold the towel")
    assert (episode.outcome, episode.outcome_from) == ("success", "robot")
    assert episode.segments["who"].to_pylist() == ["ann"]


def test_the_embodiment_file_says_where_facts_stand(tmp_path: Path):
    records = {
        "run": {"label": "drop", "text": "drop it", "task": "other"},
        "end.of.run": {"verdict": "failed"},
    }
    facts = "facts: {task: run.label, instruction: run.text, outcome: end.of.run.verdict, operator: run.who}"
    content = read(tmp_path, records, facts)
    (episode,) = content.episodes
    assert (episode.task, episode.instruction, episode.outcome) == ("drop", "drop it", "failure")
    assert content.notes == ("facts: operator: the log has no metadata run.who",)


def test_a_logs_outcome_is_not_said_of_one_of_several_episodes(tmp_path: Path):
    content = read(tmp_path, {"a": {"outcome": "success"}}, "episodes: {boundary: gap}", pause=9_000_000_000)
    assert [e.outcome for e in content.episodes] == ["unknown", "unknown"]
    assert "the log's outcome 'success' is not said of any one of its episodes" in content.notes


def test_words_that_are_no_outcome_say_nothing(tmp_path: Path):
    (episode,) = read(tmp_path, {"a": {"outcome": "maybe"}}).episodes
    assert (episode.outcome, episode.outcome_from) == ("unknown", "nobody")
    assert episode.attributes["outcome"] == "maybe"


@pytest.mark.parametrize("word", ["unknown", "maybe", "0.7", "aborted"])
def test_a_demonstration_judged_in_no_known_word_is_no_success(tmp_path: Path, word: str):
    (episode,) = read(tmp_path, {"a": {"outcome": word}}, "source: demonstration").episodes
    assert (episode.outcome, episode.outcome_from, episode.end) == ("unknown", "nobody", "truncated")
    (own,) = read(
        tmp_path, {"a": {"outcome": word}}, f"source: demonstration\noutcome: {{failure: ['{word}']}}"
    ).episodes
    assert own.outcome == "failure"


def test_a_failure_said_of_several_demonstrations_makes_none_a_success(tmp_path: Path):
    more = "source: demonstration\nepisodes: {boundary: gap}"
    content = read(tmp_path, {"a": {"success": "no"}}, more, pause=9_000_000_000)
    assert [e.outcome for e in content.episodes] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("word", "outcome"), [("yes", "success"), ("No", "failure"), ("succeeded", "success")]
)
def test_yes_and_no_are_outcomes(tmp_path: Path, word: str, outcome: str):
    (episode,) = read(tmp_path, {"a": {"success": word}}).episodes
    assert (episode.outcome, episode.outcome_from) == (outcome, "robot")


def test_a_fact_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"facts: colour is none; use instruction, operator, outcome"):
        parse_embodiment(BOT + "facts: {colour: a.b}")
