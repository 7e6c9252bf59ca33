"""Shared test settings."""

import os
from typing import Any

import pytest
from hypothesis import settings

from tests.demo import finished_demo  # noqa: F401
from tests.packages import install  # noqa: F401
from tests.workers import LongestFirst, by_length

# CI must not find by luck what a developer can't repeat.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("dev", deadline=None, max_examples=20)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first, so that no worker ends alone with it."""
    items.sort(key=by_length)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """The one of ``--dist loadfile``."""
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None
