"""Packages beside this one, as pip would lay them, and ``lwd`` run where they are."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"


def install(project: Path, site: Path) -> Path:
    """Lay a project with a pyproject.toml into the folder ``site``; return that."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    shutil.copytree(project, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    lines: list[str] = []
    for group, points in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {address}" for name, address in points.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return site


def lwd(home: Path, site: Path, *arguments: str, fails: bool = False) -> str:
    """What ``lwd`` says, on either stream, with ``home`` for LWD_HOME and ``site`` on the path."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    ran = subprocess.run(
        [sys.executable, "-m", "lwd_core.cli.main", *arguments],
        env={**os.environ, "LWD_HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert bool(ran.returncode) == fails, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
