"""The code that pages show is the code of the examples, which other tests run."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.packages import PLUGINS


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("formats.md", "reader/acme_logs.py"),
        ("fleet.md", "robot/point_arm/__init__.py"),
        ("your-robot.md", "my_arm/my_arm/__init__.py"),
        ("own-logs.md", "exporter/npz_export.py"),
    ],
)
def test_a_page_shows_its_example_as_it_is(page: str, file: str) -> None:
    shown = [block.lines for block in blocks((ROOT / "docs" / page).read_text()) if block.info == "python"]
    assert tuple(Path(PLUGINS, file).read_text().splitlines()) in shown
