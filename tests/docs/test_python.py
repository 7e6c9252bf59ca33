"""The front door: pages and examples use nothing else, it is documented, and it works."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lwd_core as lwd
from lwd_core import extend
from tests.docs.pages import PAGES, ROOT, blocks

EXAMPLES = ROOT / "examples"
API = ROOT / "docs" / "api.md"
#: pages whose Python is run, in their order, over a small lake in the place of the demo's
RUN = ["README.md", "docs/api.md", "docs/lake.md", "docs/snapshots.md", "docs/formats.md", "docs/policies.md"]


def snippets(page: Path) -> list[str]:
    return ["\n".join(b.lines) for b in blocks(page.read_text()) if b.info == "python"]


def code() -> Iterator[tuple[str, str]]:
    """Python that a reader is shown: where it stands, and its text."""
    for page in PAGES:
        yield from ((page.name, text) for text in snippets(page))
    for script in EXAMPLES.rglob("*.py"):
        yield "/".join(script.relative_to(EXAMPLES).parts[-3:]), script.read_text()
    for notebook in EXAMPLES.glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        yield from ((notebook.name, "".join(c["source"])) for c in cells if c["cell_type"] == "code")


def imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_pages_and_examples_import_nothing_deeper_than_the_front_door() -> None:
    ours = [(where, name) for where, text in code() for name in imported(text)]
    ours = [(where, name) for where, name in ours if re.match(r"lwd_core|storage_schemas|pipelines", name)]
    assert len(ours) > 8
    world = "lwd_core.fleet.sim."  # what is learned of the simulator's own scenes is no other robot's
    ours = [
        (where, name) for where, name in ours if not (where.startswith("finder/") and name.startswith(world))
    ]
    assert {name for _, name in ours} == {"lwd_core", "lwd_core.extend"}, ours


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_page_tells_to_import_from_deeper(page: Path) -> None:
    """Not in a file that its commands write either."""
    deeper = re.findall(r"(?:from|import) (lwd_core\.[\w.]+)", page.read_text())
    assert set(deeper) <= {"lwd_core.extend"}


def test_every_name_that_is_used_is_there() -> None:
    used = {
        (where, node.attr)
        for where, text in code()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lwd"
    }
    assert [(where, name) for where, name in used if name not in lwd.__all__] == []


def test_the_page_describes_every_name_and_no_other() -> None:
    assert sorted(re.findall(r"^::: lwd_core\.(\w+)$", API.read_text(), re.MULTILINE)) == sorted(lwd.__all__)
    for name in lwd.__all__:
        assert (getattr(lwd, name).__doc__ or "").strip(), f"{name} has no docstring"


def test_what_packages_build_on_is_described_too() -> None:
    told = re.findall(r"^::: lwd_core\.extend\.(\w+)$", API.read_text(), re.MULTILINE)
    assert told == [name for name in extend.__all__ if name != "Info"]  # which is a plain dict


def test_a_package_for_robots_or_logs_loads_no_torch() -> None:
    names = ("ArrayReader", "TabularEpisode", "Task", "Workcell", "Written")
    assert "torch" not in loaded("import lwd_core.extend as e; " + ", ".join(f"e.{n}" for n in names))


def loaded(code: str) -> set[str]:
    """Packages a fresh interpreter has loaded after this."""
    told = f"import sys, lwd_core as lwd; {code}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = {"torch", "pyarrow", "duckdb", "numpy", "pydantic", "polars", "deltalake", "dagster"}
    assert loaded("dir(lwd)") & heavy == set()


def test_a_query_and_a_recorder_need_no_torch() -> None:
    assert "torch" not in loaded("lwd.open, lwd.Episode, lwd.Recorder, lwd.check, lwd.wilson, lwd.read_log")


def test_without_torch_everything_but_learning_and_acting_works(point_lake: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import lwd_core as lwd
lake = lwd.open("{point_lake}/lwd-data")
print(lake.snapshot({{"name": "a"}}), lake.label()[0].episodes, len(lake.episodes()[0].frames("top")) > 3)
for wish in (lake.snapshot({{"name": "a"}}).loader, lambda: lake.policy("a"), lambda: lwd.load_policy):
    try:
        wish()
    except lwd.UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    first, *others = done.stdout.splitlines()
    assert re.fullmatch(r"Snapshot\(\w+: a, 24 episodes, \d+ steps\) 24 True", first)
    assert others == ["torch is not installed; run `pip install 'lwd[train]'`"] * 3


def test_a_name_that_is_not_there_is_told_with_what_was_meant() -> None:
    with pytest.raises(AttributeError, match=r"no opne; did you mean open\?"):
        _ = lwd.opne
    assert set(lwd.__all__) <= set(dir(lwd))


@pytest.fixture(scope="module")
def point_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        from point_robot import make_lake, record

        make_lake(folder / "lwd-data")
        record(folder / "run-17.mcap", 99, noise=0.3)
    return folder


@pytest.mark.parametrize("page", RUN)
def test_the_python_of_a_page_runs(
    page: str, point_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "here"
    shutil.copytree(point_lake, home)
    monkeypatch.chdir(home)
    monkeypatch.delenv("LWD_HOME", raising=False)
    given: dict[str, Any] = {}
    if page == "docs/policies.md":
        lake = lwd.open("lwd-data")
        given["state"] = lake.episodes()[0]["state"][0]
        small = {"run": "r", "stage": "sft", "updates": 2, "network": {"hidden": 8, "layers": 1}}
        lake.train({**small, "offline": lake.snapshot({"name": "a"}).digest})
        given["folder"] = f"lwd-data/policies/{lake.policy_of('r').policy_id}"
    for text in snippets(ROOT / page):
        exec(compile(text, page, "exec"), given)
    assert given["lwd"] is lwd
