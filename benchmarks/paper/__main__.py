"""Make the paper's table: ``python -m benchmarks.paper [--seed 0] [--rows sft,lwd,…] [--plan full]``.

Killed at any moment, the same command goes on: a finished cell is a file, a training run resumes from its
checkpoint, a fleet day that is repeated lands nothing new. The page is rendered after every cell, from a JSON
file beside it that keeps every seed's cells, those made elsewhere too.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.paper.plan import cells, load_plan
from benchmarks.paper.results import keep, read_cells, render
from benchmarks.paper.run import Bench
from lwd_core.errors import UserError
from lwd_core.storage.location import open_location


def main() -> int:
    """Exit code: 0 done, 2 wrong input."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--rows", help="cells to make, by commas, with what they rest on; default: all")
    options.add_argument("--plan", default="full", help="full or tiny")
    options.add_argument("--home", default="lwd-paper", help="folder of all seeds")
    options.add_argument("--page", default="docs/results.md")
    options.add_argument("--list", action="store_true", help="name the cells and stop")
    chosen = options.parse_args()
    try:
        plan = load_plan(chosen.plan)
        known = [cell.name for cell in cells(plan)]
        wanted = chosen.rows.split(",") if chosen.rows else known
        if unknown := [name for name in wanted if name not in known]:
            raise UserError(f"--rows: no cell {unknown[0]!r}; there are {', '.join(known)}")
        if chosen.list:
            print("\n".join(known))
            return 0
        home = Path(chosen.home).resolve()
        bench = Bench(plan, chosen.seed, home / f"seed-{chosen.seed}", lambda text: print(text, flush=True))
        for name in wanted:
            bench.make(name)
            page = Path(chosen.page)
            made = keep(plan, page.with_suffix(".json"), read_cells(home))
            with open_location(str(page.parent)).write(page.name) as file:
                file.write(render(plan, chosen.plan, made).encode())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
