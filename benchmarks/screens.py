"""Pages of the UI in a real browser, timed until what a person came for stands there.

Used by ``benchmarks.platform`` on its large home. The first page of all loads the application; from there a
person clicks from page to page without loading it anew, and so does this.
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
#: What a click on a link of the UI does.
CLICK = "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate')); }"


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

        page = context.new_page()

        def wait(name: str) -> None:
            text = re.compile(SCREENS[name][1])
            page.get_by_text(text).first.wait_for(state="visible", timeout=PATIENCE_MS)

        def open_page(name: str) -> float:
            if page.url.startswith(address):
                page.evaluate(CLICK, "/deployment/config")
                page.get_by_text(re.compile(SCREENS[name][1])).first.wait_for(state="hidden")
            begun = time.perf_counter()
            if page.url.startswith(address):
                page.evaluate(CLICK, SCREENS[name][0])
            else:
                page.goto(f"{address}{SCREENS[name][0]}", wait_until="commit")
            wait(name)
            return time.perf_counter() - begun

        yield open_page
        context.close()
