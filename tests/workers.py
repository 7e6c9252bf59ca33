"""How tests are dealt to workers: the longest first, a file to one worker, a page of the docs alone."""

import pytest
from xdist.scheduler import LoadFileScheduling

PAGES = "tests/docs/test_pages.py"
#: what begins first, in this order: the demo, which pages wait for, then what is long and waits for nothing
FIRST = (
    "tests/e2e/test_demo.py",
    "tests/e2e/test_week.py",
    "tests/benchmarks/test_paper.py",
    "tests/e2e/",
    "tests/test_wheel.py",
    PAGES,
)


class LongestFirst(LoadFileScheduling):
    """By file, in the order of the collection; a page is a minute of commands in a folder of its own."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(PAGES) else super()._split_scope(nodeid)


def by_length(item: pytest.Item) -> int:
    """Where a test stands in the order."""
    return next((i for i, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST))
