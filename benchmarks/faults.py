"""SIGKILL at random moments of ingest, compaction and erasure; then the same again must leave what an
undisturbed run leaves.

    python -m benchmarks.faults [--json] [--kills 100 of each] [--seed 0]
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from tests.lwd_core.lake.kills import kill_once, prepare

VERBS = ("ingest", "compact", "erase")


def main() -> None:
    """Kill, compare, count; stops with an error at the first difference."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    rng = random.Random(chosen.seed)
    result: dict[str, dict[str, float]] = {}
    for verb in VERBS:
        rounds = chosen.kills
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            trial = prepare(Path(folder), verb)
            killed = sum(kill_once(trial, rng) for _ in range(rounds))
        result[verb] = {"runs": rounds, "killed": killed, "different": 0, "s": time.perf_counter() - began}
    if chosen.json:
        print(json.dumps(result))
        return
    for verb, counts in result.items():
        print(
            f"{verb:8} {counts['runs']:4} runs, {counts['killed']:4} killed in time, "
            f"{counts['different']} different after a rerun, {counts['s']:.0f} s"
        )


if __name__ == "__main__":
    main()
