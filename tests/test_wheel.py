"""The wheel alone, in an environment of its own and with no clone around: from an empty folder to the UI."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from sysconfig import get_path
from typing import Any

import pytest

from tests.lwd_core.logs.robot_logs import episode_log

ROOT = Path(__file__).parents[1]
#: What deploy/Dockerfile copies, too.
SOURCES = (
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "dagster_home",
    "lwd_core",
    "pipelines",
    "storage_schemas",
)
PATIENCE_S = 60.0
ASSETS = "{assetsOrError {... on AssetConnection {nodes {key {path}}}}}"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing an earlier build left is in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(out), str(source))
    (built,) = out.glob("lwd-*.whl")
    return built


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs ``lwd`` as installed from the wheel; what others made comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    packages = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    python = str(folder / "venv" / "bin" / "python")
    _pip("--python", python, "install", "--no-deps", "--no-index", str(wheel))
    # as a path alone: no .pth file in it is read, so an editable install there brings no clone along
    (packages / "others.pth").write_text("\n".join({get_path("purelib"), get_path("platlib")}) + "\n")
    for i in range(4):
        facts = {"embodiment": "arm", "robot_id": f"r{i}"}
        (folder / f"run-{i}.mcap").write_bytes(episode_log(40 + i, facts=facts, seed=i))
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("LWD_", "DAGSTER_", "PYTHONPATH"))
    } | {"LWD_HOME": "lake", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}

    def lwd(*arguments: str, program: str = "lwd", start: bool = False) -> Any:
        command = [str(folder / "venv" / "bin" / program), *arguments]
        if start:
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-500:]}{done.stderr[-2000:]}"
        return done.stdout

    return lwd


def test_what_is_not_code_comes_along(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        path.relative_to(ROOT).as_posix()
        for room in SOURCES
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", "")
    ]
    assert [name for name in wanted if name not in held] == []
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert not any(name.startswith(("tests", "docs", "benchmarks")) for name in held)


def test_from_an_empty_folder_to_a_trained_run(run: Run) -> None:
    assert run("--version").startswith("lwd ")
    run("init", "lake", "--name", "arm", "--log", "run-0.mcap")
    run("ingest", *(f"run-{i}.mcap" for i in range(4)))
    runs = json.loads(run("label", "run", "--json"))
    assert {one["layer_id"]: one["episodes"] for one in runs}["reward.sparse@1"] == 4
    assert "site-packages" in run("-c", "import lwd_core; print(lwd_core.__file__)", program="python")
    (row,) = json.loads(run("sql", "--format", "json", "SELECT count(*) AS n, sum(steps) AS s FROM episodes"))
    assert row == {"n": 4, "s": 40 + 41 + 42 + 43}
    folder = Path(run("-c", "import os; print(os.getcwd())", program="python").strip())
    (folder / "snapshot.yaml").write_text("name: first\nembodiments: [arm]\nchunk: 5\n")
    digest = run("snapshot", "build", "snapshot.yaml").strip()
    config = {"run": "clone", "stage": "sft", "offline": digest, "updates": 4, "batch": 8}
    (folder / "run.json").write_text(json.dumps(config))
    run("train", "run.json")
    metrics = (folder / "lake" / "checkpoints" / "clone" / "metrics.jsonl").read_text().splitlines()
    assert metrics
    assert {"demo", "ui"} <= set(run("--help").split())
    assert "tiny" in run("demo", "--help")


@pytest.mark.servers
def test_the_ui_answers_and_ends(run: Run) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ui = run("ui", "--home", "ui", "--port", str(port), start=True)
    try:
        assert f"http://127.0.0.1:{port}" in ui.stdout.readline()
        end = time.monotonic() + PATIENCE_S
        while "training_snapshot" not in (found := _asked(port)):
            assert time.monotonic() < end, found
            assert ui.poll() is None
            time.sleep(0.2)
    finally:
        ui.send_signal(signal.SIGTERM)
        code = ui.wait(PATIENCE_S)
        ui.stdout.close()
    assert code == 0


def _asked(port: int) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": ASSETS}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()
    except OSError as error:
        return str(error)


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
