"""The prepared run for a GPU works; here it is tiny, on the CPU."""

import json
from pathlib import Path

from benchmarks.gpu import main


def test_every_part_runs_and_says_figures(tmp_path: Path) -> None:
    rows = main(
        ["--device", "cpu", "--tiny", "--seconds", "0", "--limit", "600", "--json", str(tmp_path / "r.json")]
    )
    assert not [row for row in rows if "fault" in row]
    by_part = {
        part: [r for r in rows if r["part"] == part] for part in ("agreement", "mlp", "vla", "workers")
    }
    assert all(row["weights differ"] == 0 for row in by_part["agreement"])  # the same device twice
    assert by_part["workers"][0]["weights differ"] < 1e-5
    assert {(r["method"], r["batch"]) for r in by_part["vla"]} == {
        (m, b) for m in ("cloning", "qam") for b in (2,)
    }
    assert all(row["updates/s"] > 0 for row in by_part["mlp"] + by_part["vla"])
    assert json.loads((tmp_path / "r.json").read_text()) == rows
