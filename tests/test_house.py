"""The house's papers say what is the case."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def test_contributing_names_every_door() -> None:
    said = (ROOT / "CONTRIBUTING.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "lwd_core").rglob("*.py"))
    groups = set(re.findall(r'Door(?:\[[^=\n]*\])?\(\s*"(lwd\.\w+)"', source))
    assert "lwd.commands" in groups
    assert [group for group in groups if f"`{group}`" not in said] == []


def test_one_class_name_means_one_thing() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for package in ("storage_schemas", "lwd_core", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    where[node.name].append(str(path.relative_to(ROOT)))
    assert len(where) > 100
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def test_before_a_commit_runs_what_make_lint_runs() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint
    for line in lint[1].splitlines():
        tool = re.search(r"\$\(BIN\)/([\w-]+(?: (?:format|check))?)", line)
        assert tool
        assert f".venv/bin/{tool[1]}" in hooks


def test_what_is_pinned_installs_on_the_oldest_python_there_is() -> None:
    """Of a minor version the first, which pip judges by: Debian 12 has 3.11.2."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = about["requires-python"].removeprefix(">=") + ".0"
    wants = {package.name: str(package.metadata["Requires-Python"] or "") for package in distributions()}
    assert len(wants) > 100
    assert {name: wanted for name, wanted in wants.items() if oldest not in SpecifierSet(wanted)} == {}


@pytest.mark.parametrize(("tag", "version"), [("v1.2.3", "1.2.3"), (None, "0.2.0.dev1")])
def test_the_version_comes_from_the_tag(tmp_path: Path, tag: str | None, version: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path))
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    if tag:
        subprocess.run([*git, "tag", tag], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "setuptools_scm"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == version
