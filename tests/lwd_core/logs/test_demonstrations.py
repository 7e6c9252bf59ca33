"""Nobody steps in where a person drives from start to end: a demonstration is not an intervention."""

from pathlib import Path

import pytest

from lwd_core.lake.store import Lake
from lwd_core.reports.findings import fleet_day
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
