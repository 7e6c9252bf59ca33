"""Success curves on OGBench: ``python -m benchmarks.ogbench [--plan small] [--seeds 0,1]``.

The first run makes the peers' environment, fetches the two repositories (`--qam`, `--ogbench` take local
clones) and makes the play data. Killed at any moment, the same command goes on. The tables between the page's
marks are made anew after every curve, from a JSON file beside it that keeps those made elsewhere too.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.ogbench.page import into, keep, read_curves, tables
from benchmarks.ogbench.peers import OGBENCH, QAM, Peers
from benchmarks.ogbench.plan import load_comparison
from benchmarks.ogbench.run import Contest
from lwd_core.errors import UserError
from lwd_core.storage.location import open_location
from lwd_core.training.run import Interrupted


def main() -> int:
    """Exit code: 0 done, 2 wrong input, 143 stopped."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.ogbench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--plan", default="full", help="a file here: full, small, point or tiny")
    options.add_argument("--tasks", help="of the plan, by commas; default: its first")
    options.add_argument("--learners", help="of the plan, by commas; default: all")
    options.add_argument("--seeds", default="0,1", help="by commas")
    options.add_argument("--home", default="lwd-ogbench", help="folder of everything made")
    options.add_argument("--page", default="docs/ogbench.md")
    options.add_argument("--qam", default=QAM[0], help="ColinQiyangLi/qam, an address or a local clone")
    options.add_argument("--ogbench", default=OGBENCH[0], help="seohongpark/ogbench, likewise")
    chosen = options.parse_args()
    try:
        plan = load_comparison(chosen.plan)
        tasks = _named("--tasks", chosen.tasks, list(plan.tasks)) if chosen.tasks else [*plan.tasks][:1]
        learners = _named("--learners", chosen.learners, list(plan.learners))
        seeds = [_seed(seed) for seed in chosen.seeds.split(",")]
        home, page = Path(chosen.home).resolve(), Path(chosen.page)
        contest = Contest(plan, home, Peers(home, chosen.qam, chosen.ogbench), _say)
        for task in tasks:
            for seed in seeds:
                for learner in learners:
                    contest.make(task, learner, seed)
                    made = tables(plan, keep(plan, page.with_suffix(".json"), read_curves(home)))
                    written = into(page.read_text() if page.exists() else "# OGBench\n", chosen.plan, made)
                    with open_location(str(page.parent)).write(page.name) as file:
                        file.write(written.encode())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as notice:
        print(notice, file=sys.stderr)
        return 143
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _seed(given: str) -> int:
    if not given.strip().isdigit():
        raise UserError(f"--seeds: {given!r} is no number; give numbers by commas, as 0,1,2")
    return int(given)


def _named(option: str, given: str | None, known: list[str]) -> list[str]:
    names = given.split(",") if given else known
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{option}: no {unknown[0]!r} in the plan; there are {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
