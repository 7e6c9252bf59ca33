"""Where robot data of other projects lies, for tests that want to see it."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("LWD_SAMPLE_DATA", Path(__file__).parents[4] / "shared" / "data"))


def sample(*parts: str) -> Path:
    """A file or folder of the sample data; skips the test, by name, where it is missing."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"sample data {'/'.join(parts)} is not here")
    return path
