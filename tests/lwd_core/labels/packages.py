"""Packages of checks and labels, laid beside this one as pip would."""

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lwd_core import plugins

EXAMPLES = Path(__file__).parents[3] / "examples"
KITCHEN = EXAMPLES / "plugins" / "labels"

Install = Callable[..., None]


def lay(root: Path, package: str, code: str, points: dict[str, dict[str, str]]) -> Path:
    """A folder for sys.path with a module and its entry points, by group and name."""
    about = root / f"{package}-0.1.0.dist-info"
    about.mkdir(parents=True)
    (root / f"{package}.py").write_text(code)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    lines = []
    for group, members in points.items():
        lines += [f"[{group}]", *(f"{name} = {address}" for name, address in members.items())]
    (about / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return root


def lay_kitchen(root: Path) -> Path:
    """The example package, by what its pyproject.toml says."""
    project = tomllib.loads((KITCHEN / "pyproject.toml").read_text())
    code = (KITCHEN / "kitchen_labels.py").read_text()
    return lay(root, "kitchen_labels", code, project["project"]["entry-points"])


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    plugins._others.cache_clear()
    modules = set(sys.modules)

    def put(package: str, code: str = "", **points: dict[str, str]) -> None:
        groups = {f"lwd.{group}": members for group, members in points.items()}
        root = tmp_path / package
        where = lay_kitchen(root) if package == "kitchen" else lay(root, package, code, groups)
        monkeypatch.syspath_prepend(str(where))
        plugins._others.cache_clear()

    yield put
    plugins._others.cache_clear()
    for name in set(sys.modules) - modules:
        sys.modules.pop(name)
