"""The studio as a person meets it: opened in a browser, worked by keys alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from storage_schemas.tables import EPISODES, LABELS, STEPS
from tests.e2e.test_browser import FLAGS, MISSING
from tests.lwd_core.labels.conftest import episode_rows
from tests.lwd_core.lake.servers import free_port
from tests.lwd_core.recorded import jpeg

pytestmark = [pytest.mark.e2e, pytest.mark.servers]
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
EPISODES_THERE, TICKS, JUDGED = 130, 12, 100
MARKUP = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"


def filled(root: Path) -> Lake:
    """Episodes with a camera, a critic's values, and one whose log says things in HTML."""
    lake = Lake.open(str(root), create=True)
    random = np.random.default_rng(0)
    rows, steps, values = [], [], []
    with FrameShards(lake.place, "a" * 32, "north", "2026-01-01") as shards:
        pictures = [shards.put("front", 0, jpeg(t % 3, t)) for t in range(TICKS)]
    for i, row in enumerate(episode_rows(EPISODES_THERE).to_pylist()):
        own = {name: row[name] for name in ("episode_id", "log_id", "site", "day")}
        start = 10**18 + i * 10**10
        evil = {"instruction": MARKUP, "task": MARKUP} if i == 0 else {}
        rows.append(row | evil | {"steps": TICKS, "start_ns": start, "end_ns": start + TICKS * 10**8})
        for t in range(TICKS):
            shard, offset, size = pictures[t]
            t_ns = start + t * 10**8
            frame = {"camera": "front", "shard": shard, "offset": offset, "size": size, "t_ns": t_ns}
            tick = {
                "step": t,
                "t_ns": t_ns,
                "actor": "policy",
                "valid": True,
                "gap": False,
                "frames": [frame],
            }
            steps.append(own | tick | {"state": random.normal(size=3), "action": random.normal(size=2)})
            said = {"layer_id": "value.run.0@1", "kind": "progress", "step": t, "value": t / TICKS}
            values.append(dict.fromkeys(LABELS.names) | own | said | {"created_ns": 1})
    lake.append("steps", pa.Table.from_pylist(steps, STEPS.schema))
    lake.append("labels", pa.Table.from_pylist(values, LABELS.schema))
    lake.append("episodes", pa.Table.from_pylist(rows, EPISODES.schema))
    return lake


class Server:
    """`lwd studio` over a home, by its command; the same port each time it is started."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.begin()

    def begin(self) -> None:
        command = [
            sys.executable,
            "-m",
            "lwd_core.cli.main",
            "studio",
            "--by",
            "ada",
            "--no-browser",
            "--json",
        ]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            env=os.environ | {"LWD_HOME": str(self.home), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.link = json.loads(self.process.stdout.readline())["url"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("studio")
    filled(home / "lake")
    return home


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    server = Server(home)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser, MISSING
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=browser, args=FLAGS, viewport={"width": 1400, "height": 900}
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page
        context.close()


def test_a_person_finds_and_watches_an_episode(server: Server, page: Page) -> None:
    asked: list[str] = []
    broken: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(server.link)
    expect(page.locator("#count")).to_have_text(f"{EPISODES_THERE} episodes")
    expect(page.locator(".card img").first).to_be_visible()
    assert "key" not in page.url, "the key stands in no address that is copied"

    page.keyboard.press("/")
    page.keyboard.type("e0000")
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_have_text("1 episodes")
    expect(page.locator(".card .title")).to_have_text(MARKUP)
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.evaluate("location.hash = '/episodes?outcome=failure&order=oldest'")
    expect(page.locator("#count")).to_have_text("43 episodes")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card.selected")).to_have_attribute("data-episode", "e0004")
    page.keyboard.press("Enter")
    expect(page.locator("[data-panel=value] canvas").first).to_be_visible()
    expect(page.locator(".clock")).to_contain_text("step 0")
    film = page.locator("[data-camera=front] canvas")
    expect(film).to_have_attribute("data-frame", "0")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".clock")).to_contain_text("step 1")
    expect(film).to_have_attribute("data-frame", "1")
    page.keyboard.press("Space")
    expect(page.locator(".clock")).to_contain_text(f"step {TICKS - 1}")
    page.keyboard.press("j")
    expect(page.locator(".episode")).to_have_attribute("data-episode", "e0007")
    page.keyboard.press("Escape")
    expect(page.locator(".card").first).to_be_visible()
    assert "order=oldest" in page.url

    page.evaluate("location.hash = '/episode/e0000'")
    expect(page.locator(".instruction")).to_have_text(MARKUP)
    page.evaluate("location.hash = '/compare/e0001/e0002'")
    expect(page.locator(".compare [data-panel=state]")).to_have_count(2)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".clock")).to_contain_text(["step 1", "step 1"])
    assert page.title() == "LWD studio"
    assert not broken
    assert all(url.startswith((f"http://127.0.0.1:{server.port}/", "blob:")) for url in asked)


def test_a_hundred_episodes_are_judged_by_keys_and_a_kill_loses_nothing(
    home: Path, server: Server, page: Page
) -> None:
    lake = Lake.open(str(home / "lake"))
    before = lake.version("labels")
    page.goto(server.link)
    page.locator(".card").first.wait_for()
    page.keyboard.press("Enter")
    said: dict[str, str] = {}
    open_one = page.locator(".episode")
    for i in range(JUDGED):
        expected = f"e{EPISODES_THERE - 1 - i:04d}"
        page.wait_for_selector(f".episode[data-episode={expected}]")
        word = "success" if i % 3 else "failure"
        if i == 40:
            server.kill()
        page.keyboard.press(word[0])
        said[expected] = word
        if i == 40:
            expect(page.locator("#outbox")).to_contain_text("not sent")
            server.begin()
            page.goto("about:blank")
            page.goto(server.link)
            page.locator(".card").first.wait_for()
            page.evaluate(f"location.hash = '/episode/e{EPISODES_THERE - 2 - i:04d}'")
    expect(open_one).not_to_have_attribute("data-episode", expected)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("[")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("]")
    page.keyboard.type("it slips here")
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    expect(page.locator(".labelling .now")).to_have_text("it slips here · 2")
    expect(page.locator("#outbox")).not_to_contain_text("not sent")
    server.end()

    rows = lake.read("labels", where="said_by = 'ada' ORDER BY episode_id").to_pylist()
    judged = [row for row in rows if row["kind"] == "outcome"]
    assert {row["episode_id"]: row["text"] for row in judged} == said
    assert len(judged) == JUDGED
    (note,) = [row for row in rows if row["kind"] == "annotation"]
    assert (note["text"], note["step"], note["last_step"]) == ("it slips here", 1, 2)
    assert [row["text"] for row in rows if row["layer_id"] == "person.ada.stage@1"] == ["2"]
    counts = [
        lake.sql("SELECT count(*) AS n FROM labels WHERE said_by = 'ada'", versions={"labels": v})["n"][
            0
        ].as_py()
        for v in range(before, lake.version("labels") + 1)
    ]
    assert counts == sorted(set(counts)), "a commit adds a batch, and nothing twice"
    assert len(counts) - 1 <= JUDGED // 4
    assert not list((home / "studio" / "outbox" / "ada").iterdir())


def test_a_new_link_is_taken_in_the_open_tab_and_what_the_lake_refuses_is_shown(
    server: Server, page: Page
) -> None:
    page.goto(server.link)
    page.locator(".card").first.wait_for()
    page.keyboard.press("Enter")
    page.locator(".episode").wait_for()
    server.kill()
    server.begin()
    page.keyboard.press("s")
    expect(page.locator("#outbox")).to_contain_text("not sent")
    page.evaluate(f"location.hash = '{server.link.partition('#')[2]}'")
    page.locator(".card").first.wait_for()
    expect(page.locator("#outbox")).not_to_contain_text("not sent")
    assert "key" not in page.url
    page.evaluate(
        """fetch("/api/labels", { method: "POST",
            headers: { "Content-Type": "application/json", "X-LWD-Key": localStorage.getItem("lwd-key") },
            body: JSON.stringify({ commit: true,
                labels: [{ episode_id: "gone", kind: "note", text: "x", at_ms: 1 }] }) })"""
    )
    expect(page.locator("#outbox")).to_contain_text("1 refused by the lake")
    expect(page.locator("#outbox")).to_contain_text("episode gone")
