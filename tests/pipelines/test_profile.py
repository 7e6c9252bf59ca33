"""Profiles: those shipped are right, wrong ones are named in one line."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.task import find_tasks
from lwd_core.fleet.workcells import Workcells
from lwd_core.training.upgrade import upgraded
from pipelines.demo import steps
from pipelines.profile import PROFILES, load_profile


@pytest.mark.parametrize("name", [p.stem for p in PROFILES.glob("*.yaml")])
def test_shipped_profiles_name_real_tasks_and_walk_the_whole_loop(name: str) -> None:
    plan = load_profile(name)
    find_tasks(Workcells(plan.robot).tasks, plan.tasks)
    stages = [str(r.stage) for r in plan.rounds]
    assert stages[:2] == ["sft", "offline"]
    assert stages.count("online") >= 1
    walked = [s.job for s in steps(plan)]
    assert walked == ["fleet_day", "learning_round"] * len(plan.rounds) + ["make_report"]


def test_a_home_begun_when_settings_had_other_names_goes_on() -> None:
    plan = load_profile("tiny")
    before = {"log_every": 10, "learner": {"qam": {"temperature": 0.02, "reference": "refreshed"}}}
    old = plan.model_copy(update={"training": before, "formerly": ()})
    assert upgraded(before)["learner"] == upgraded(plan.training)["learner"] | {
        "extraction": {"temperature": 0.02}
    }
    assert old.digest in plan.digests
    assert old.digest != plan.digest


def test_a_round_says_how_much_of_its_day_is_watched() -> None:
    plan = load_profile("default")
    assert [plan.watcher(r.fleet).rate for r in plan.rounds[1:]] == [0.5, 0.1, 0.1]
    first = plan.rounds[0]
    said = first.model_copy(update={"fleet": first.fleet.model_copy(update={"watched": 0.5})})
    silent = load_profile("tiny")
    assert silent.watcher(silent.rounds[1].fleet).rate == 1.0
    assert plan.model_copy(update={"rounds": (said, *plan.rounds[1:])}).digest != plan.digest


def test_rounds_follow_day_by_day() -> None:
    plan = load_profile("tiny")
    assert [plan.day(r.name) for r in plan.rounds[:2]] == ["2025-03-03", "2025-03-04"]
    assert plan.round_of("2025-03-04").name == plan.rounds[1].name
    # a day or a round nobody planned is like the last one
    assert plan.round_of("2025-06-01") == plan.rounds[-1]
    assert plan.round("nightly").training == plan.rounds[-1].training


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 0", "seed: none", "seed"),
        ("sites: [harbour, valley]", "sites: ['a|b']", "sites"),
        ('first_day: "2025-03-03"', 'first_day: "2025-02-30"', "first_day"),
        ("seed: 0", "sed: 0", "sed"),
        ("name: online-2", "name: online-1", "twice"),
        ("seed: 0", "seed: [", "YAML"),
        ("seed: 0", "words: wrong", "words: wrong ones are never recorded"),
        (
            "{episodes_per_task: 4}",
            "{episodes_per_task: 4, words: wrong}",
            "evaluation.words: .* never recorded",
        ),
    ],
)
def test_wrong_profiles_name_file_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (PROFILES / "tiny.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=said) as error:
        load_profile(str(path))
    assert "mine.yaml" in str(error.value)


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="default, eyes, tiny"):
        load_profile("huge")
