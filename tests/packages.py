"""Packages that lie beside this one as pip would lay them, with their entry points."""

import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from lwd_core import plugins

EXAMPLES = Path(__file__).parents[1] / "examples"
PLUGINS = EXAMPLES / "plugins"

Install = Callable[..., None]


def lay(root: Path, package: str, code: str, points: Mapping[str, Mapping[str, str]]) -> Path:
    """A folder for sys.path with a module and its entry points, by group and name; its version is 1.2."""
    root.mkdir(parents=True)
    (root / f"{package}.py").write_text(code)
    return _describe(root, package, "1.2", points)


def lay_project(project: Path, root: Path) -> Path:
    """The same of a project with a pyproject.toml."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    shutil.copytree(project, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return _describe(root, about["name"], about["version"], about["entry-points"])


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install("acme", code, labels={"spill": "acme:spill"})``, or one of the examples, for one test."""
    plugins._others.cache_clear()

    def put(package: str, code: str = "", **points: dict[str, str]) -> None:
        root, example = tmp_path / package, PLUGINS / package
        groups = {f"lwd.{group}": members for group, members in points.items()}
        where = lay(root, package, code, groups) if points else lay_project(example, root)
        monkeypatch.syspath_prepend(str(where))
        plugins._others.cache_clear()

    yield put
    plugins._others.cache_clear()
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):  # what else came in may not come twice
            sys.modules.pop(name)


def _describe(root: Path, name: str, version: str, points: Mapping[str, Mapping[str, str]]) -> Path:
    about = root / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines: list[str] = []
    for group, members in points.items():
        lines += [f"[{group}]", *(f"{member} = {address}" for member, address in members.items())]
    (about / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return root
