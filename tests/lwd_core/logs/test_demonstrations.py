"""Nobody steps in where a person drives from start to end: a demonstration is not an intervention."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from lwd_core.reports.findings import fleet_day
from tests.lwd_core.ingest.test_remap import FIRST
from tests.lwd_core.logs.robot_logs import Sink
from tests.lwd_core.logs.test_episodes import GO, STOP, read
from tests.lwd_core.snapshots.lakes import add_episode


@pytest.mark.parametrize("source", ["demonstration", "play"])
def test_a_person_drove_all_of_it(tmp_path: Path, source: str) -> None:
    told = [GO, (0, "take", {"reason": "demonstration", "operator": "bo"}), STOP]
    for events in (told, [GO, STOP]):
        (episode,) = read(tmp_path, events, f"source: {source}\nactor: {{default: human}}\n")
        (segment,) = episode.segments.to_pylist()
        assert (segment["kind"], segment["actor"]) == ("demonstration", "human")
    assert episode.actions == segment["last_step"] + 1


def test_what_a_person_takes_over_is_an_intervention(tmp_path: Path) -> None:
    (demonstration,) = read(tmp_path, [GO, (10, "take", {}), STOP], "source: demonstration\n")
    assert demonstration.segments["kind"].to_pylist() == ["autonomous", "intervention"]
    (rollout,) = read(tmp_path, [GO, (0, "take", {}), STOP])
    assert rollout.segments["kind"].to_pylist() == ["intervention"]


def test_a_day_counts_rows_of_before_the_same(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    add_episode(lake, 1, 4, actors=["human"] * 4, source="demonstration", interventions=1)
    add_episode(lake, 2, 4, actors=["policy", "human"] * 2, source="rollout", interventions=2)
    assert fleet_day(lake, "2026-01-01").interventions == 2
    assert fleet_day(lake, "2026-01-02").interventions == 0


@pytest.mark.parametrize(
    ("default", "said"), [("success", ("success", "terminated")), ("unknown", ("unknown", "truncated"))]
)
def test_a_set_without_outcomes_is_what_the_file_says(
    tmp_path: Path, default: str, said: tuple[str, str]
) -> None:
    text = FIRST + f"source: demonstration\noutcome: {{default: {default}}}\n"
    rows = {"observations": np.ones((8, 3)), "actions": np.ones((8, 2)), "terminals": np.zeros(8)}
    np.savez(tmp_path / "set.npz", **rows)
    embodiments = {"cube": parse_embodiment(text)}
    (episode,) = read_log(LogSource(str(tmp_path / "set.npz")), embodiments, Sink()).episodes
    assert (episode.outcome, episode.end) == said
    assert episode.outcome_from == "nobody"
