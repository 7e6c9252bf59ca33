"""The UI as a person meets it: started by its command, opened in a browser, one click, one success."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.lake.store import Lake
from storage_schemas.vocabulary import Source
from tests.lwd_core.lake.servers import free_port
from tests.lwd_core.scripted import Scripted, land_scripted

pytestmark = [pytest.mark.e2e, pytest.mark.servers]
MISSING = "Chromium is not installed: `make system-test` as root, or `apt-get install chromium`"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DAY, DAY_NS = "2025-03-05", 1_741_132_800 * 10**9
#: Two busy cores start a run in half a minute.
PATIENCE_MS = 180_000


def graphql(address: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty lake, whose landing zone holds one log."""
    home = tmp_path_factory.mktemp("ui")
    Lake.open(str(home / "lake"), create=True)
    Workcells().install(str(home / "embodiments"))
    script = Scripted("push", Source.DEMONSTRATION, 0)
    land_scripted(str(home / "landing"), RobotSpec("harbour-00", "harbour"), DAY, DAY_NS, script)
    return home


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "pipelines.ui", "--home", str(home), "--port", str(port)]
    with open(home / "ui.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        found = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                if graphql(found, "{assetNodes {id}}")["assetNodes"]:
                    break
            except OSError:
                assert server.poll() is None, (home / "ui.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (home / "ui.log").read_text()[-3000:]
            time.sleep(0.2)
        yield found
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser, MISSING
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=browser,
            args=FLAGS,
            viewport={"width": 1600, "height": 1000},
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page
        context.close()


def test_what_landed_is_taken_in_by_itself(home: Path, address: str) -> None:
    """Landing sensor, run queue and ingest, without anybody's hand."""
    began = time.monotonic()
    while not Lake.open(str(home / "lake")).read("episodes").num_rows:
        assert time.monotonic() - began < PATIENCE_MS / 1000, (home / "ui.log").read_text()[-3000:]
        time.sleep(0.5)
    assert graphql(address, "{runsOrError {... on Runs {results {jobName}}}}")["runsOrError"]["results"] == [
        {"jobName": "ingest_day"}
    ]


def test_the_graph_reads_like_the_picture(address: str, page: Page) -> None:
    page.goto(f"{address}/asset-groups/", wait_until="domcontentloaded")
    for group in ("fleet", "lake", "labels", "snapshots", "training", "policies", "reports"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=PATIENCE_MS)


def test_a_click_on_materialize_ends_in_success(address: str, page: Page) -> None:
    page.goto(f"{address}/assets/report?view=overview", wait_until="domcontentloaded")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Confirm").click()  # nothing was trained here, and the page says so
    expect(page.get_by_text("Launched run").first).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_text("View", exact=True).first.click()
    expect(page.get_by_text("Success", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    page.goto(f"{address}/assets/report?view=overview", wait_until="domcontentloaded")
    page.get_by_text("Show Markdown").first.click()
    expect(page.locator("img[src^='data:image/png']").first).to_be_visible()
