"""Pages of the UI in a real browser, timed until what a person came for stands there.

Used by ``benchmarks.platform`` on its large home. The browser keeps its cache between pages, as a person's
does; the first page of all is a measure of its own.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

#: Pages, and the text that says they are there: numbers that need every partition, not headings.
SCREENS = {
    "graph": ("/asset-groups/", r"^snapshots$"),
    "catalog": ("/assets", r"^[\d,]{5,} partitions$"),
    "asset": ("/assets/episodes?view=overview", r"^episode_id$"),
    "partitions of an asset": ("/assets/episodes?view=partitions", r"^Materialized \(1,?000\)$"),
    "events of an asset": ("/assets/episodes?view=events", r"^2026-04-10\|lab9$"),
    "checks of an asset": ("/assets/episodes?view=checks", r"^whole$"),
    "lineage of an asset": ("/assets/episodes?view=lineage", r"^fleet_logs$"),
    "runs": ("/runs", r"^ingest_day$"),
    "jobs": ("/jobs", r"^learning_round$"),
    "automation": ("/automation", r"^nightly_retraining$"),
}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 120_000


def chromium() -> str | None:
    """Where the browser is; None where there is none (`make system-test` installs it)."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser(address: str, folder: Path) -> Iterator[Callable[[str], float]]:
    """A browser: a function that opens one of `SCREENS` and returns the seconds until its text is there."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=chromium(), args=list(FLAGS), viewport={"width": 1600, "height": 1000}
        )

        def open_page(name: str) -> float:
            path, text = SCREENS[name]
            page = context.new_page()
            begun = time.perf_counter()
            page.goto(f"{address}{path}", wait_until="commit")
            page.get_by_text(re.compile(text)).first.wait_for(state="visible", timeout=PATIENCE_MS)
            seconds = time.perf_counter() - begun
            page.close()
            return seconds

        yield open_page
        context.close()
