"""The parts of the robot's side, tiny: what is recorded is in the log, what a kill leaves is uploaded."""

from pathlib import Path

from benchmarks import edge_recording, edge_salvage


def test_recording_drops_nothing(tmp_path: Path) -> None:
    row = edge_recording.measure("three, JPEG", tmp_path, seconds=0.4, hz=200, realtime=False)
    assert (row["steps"], row["steps_dropped"], row["pictures_dropped"]) == (80, 0, 0)
    assert row["pictures"] >= 3


def test_a_killed_robots_log_is_uploaded_and_taken_in(tmp_path: Path) -> None:
    row = edge_salvage.measure("30 Hz, no camera", tmp_path, seconds=1.5)
    assert (row["logs"], row["state"], row["end"]) == (1, ["salvaged"], ["truncated"])
    assert 0 <= row["acts"] - row["steps"] <= 31  # a second of ticks, and the one under way
