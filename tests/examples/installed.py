"""``lwd`` run beside the examples' packages."""

import os
import subprocess
import sys
from pathlib import Path


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
