"""Shared test settings."""

import os

from hypothesis import settings

from tests.packages import install  # noqa: F401

# CI must not find by luck what a developer can't repeat.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("dev", deadline=None, max_examples=20)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
