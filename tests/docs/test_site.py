"""The site builds without a warning and without a network, and its reference pages cover the code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from storage_schemas.markdown import page
from storage_schemas.tables import TABLES
from tests.docs.pages import ROOT

#: every package of lwd_core, and its modules that are in none
ROOMS = [p.stem for p in (ROOT / "lwd_core").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
ROOMS.remove("__init__")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # a proxy that refuses everything: whatever asked the network would fail
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_table_and_column_is_described() -> None:
    text = page()
    for table in TABLES.values():
        section = text.split(f"\n## {table.name}\n", 1)[1].split("\n## ", 1)[0]
        for column in table.columns:
            row = next(line for line in section.splitlines() if line.startswith(f"| `{column.name}` |"))
            assert column.meaning in row
            assert column.unit in row


def test_reference_pages_are_in_the_site(site: Path) -> None:
    for name, words in {
        "tables.html": ("episode_id", "snapshot_members", "ns since epoch"),
        "cli.html": ("lwd policy diff", "lwd episode view", "--as-of"),
        "rooms.html": tuple(f"<code>{room}</code>" for room in ROOMS),
        "api.html": ("lwd_core.Home.snapshot", "One attempt at one task", "trusted"),
        "settings.html": ("LWD_HOME", "LWD_LANDING", "LWD_SIGNING_KEY"),
    }.items():
        text = (site / name).read_text()
        assert all(word in text for word in words), name


def test_a_readers_browser_fetches_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)|<link[^>]+href=\"(https?:[^\"]+)")
    for file in site.rglob("*.html"):
        found = [a or b for a, b in loads.findall(file.read_text()) if 'rel="canonical"' not in a + b]
        assert not found, f"{file.name}: {found}"
