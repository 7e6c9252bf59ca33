"""What docstrings, comments and pages point to is there: pages, modules, names of ours."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

#: pages that ``docs/hooks.py`` makes when the site is built
MADE = {"api.md", "cli.md", "rooms.md", "settings.md", "tables.md"}
PAGE = re.compile(r"(?<![\w*])[\w./-]+\.md\b(?![\w(])")
MODULE = re.compile(r"(?<![\w.*/{<-])(?:[a-z_]\w*/)+[a-z_]\w*\.py\b")
DOTTED = re.compile(r"(?<![\w./-])(?:lwd_core|storage_schemas|pipelines|benchmarks)(?:[.:][A-Za-z_]\w*)+")
#: endings of files, which a dotted name of a package also looks like
FILES = {"egg-info", "yaml", "json", "md", "toml", "__file__"}

TEXTS = [
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()
    if Path(name).suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".sh", ""}
    and (ROOT / name).is_file() and name != "tests/docs/test_references.py"
]  # fmt: skip


def page_is_there(said: str, file: Path) -> bool:
    places = (ROOT / said, ROOT / "docs" / said, ROOT / file.parent / said)
    return Path(said).name in MADE or any(place.is_file() for place in places)


def module_is_there(said: str) -> bool:
    """A path that begins in a folder of ours; other projects' are not looked for."""
    folder = said.partition("/")[0]
    return not any(folder in path.parts for path in TEXTS) or any(f"/{p}".endswith(f"/{said}") for p in TEXTS)


@cache
def names_of(module: Path) -> frozenset[str]:
    """The names a module binds at its top, read without importing it."""
    tree = ast.parse(module.read_text())
    bound = {alias.asname or alias.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
             for alias in n.names}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return frozenset(bound)


def name_is_there(said: str) -> bool:
    """A package, a module, or a name in one. A front door that answers by ``__getattr__`` is asked."""
    parts = re.split(r"[.:]", said)
    place = ROOT / parts[0]
    for at, part in enumerate(parts[1:], 1):
        if (place / part).is_dir():
            place /= part
        elif (place / f"{part}.py").is_file():
            return at + 1 == len(parts) or parts[at + 1] in names_of(place / f"{part}.py") | {"__file__"}
        else:
            front = place / "__init__.py"
            there = part in names_of(front) or f'"{part}"' in front.read_text()
            return there or part in FILES or (place / f"{part}.pyi").is_file()
    return True


def missing(file: Path, text: str) -> list[str]:
    """What a text points to in vain, with its line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = [s for s in PAGE.findall(line) if "://" not in line and not page_is_there(s, file)]
        said += [s for s in MODULE.findall(line) if not module_is_there(s)]
        said += [s for s in DOTTED.findall(line) if not name_is_there(s)]
        found += [f"{file}:{number}: {s}" for s in said]
    return found


def test_everything_pointed_to_is_there():
    assert not [line for file in TEXTS for line in missing(file, (ROOT / file).read_text())]


@pytest.mark.parametrize(
    "said", ["nowhere.md", "lwd_core/lake/nowhere.py", "lwd_core.lake.nowhere", "lwd_core.lake.store.Nobody"]
)
def test_what_is_not_there_is_named(said: str):
    assert missing(Path("lwd_core/x.py"), f"fine\nas `{said}` says") == [f"lwd_core/x.py:2: {said}"]
