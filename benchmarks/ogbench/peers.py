"""The environment the peers run in: OGBench, JAX, and the two repositories at the commits they were read at.

<home>/env         a virtual environment of exactly ``requirements.txt``
<home>/qam         ColinQiyangLi/qam: what its agent needs
<home>/scripts     seohongpark/ogbench: the script that makes play data, which its package leaves out
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ogbench.judge import receive, send
from lwd_core.errors import UserError
from storage_schemas.canonical import digest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
QAM = ("https://github.com/ColinQiyangLi/qam", "f93efd22520a79f6819f458dffe9c075eacc786f")
OGBENCH = ("https://github.com/seohongpark/ogbench", "1d4140997f60c52c6fb0702ec100dc988b18c548")
SCRIPT = "data_gen_scripts/generate_manipspace.py"
# One core: two learners that are compared must not differ in how many they take.
ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "PYTHONWARNINGS": "ignore",
}


class Peers:
    """Programs of `benchmarks.ogbench.peer` in their own environment, made at first use."""

    def __init__(self, home: Path, qam: str = QAM[0], ogbench: str = OGBENCH[0]) -> None:
        """``qam``, ``ogbench``: addresses or local copies of the repositories."""
        self._home, self._qam, self._ogbench = home, qam, ogbench

    @property
    def qam(self) -> Path:
        """Checkout of QAM's code."""
        return _checkout(self._home / "qam", self._qam, QAM[1], "agents", "utils")

    @property
    def script(self) -> Path:
        """OGBench's generator of play."""
        return _checkout(self._home / "scripts", self._ogbench, OGBENCH[1], SCRIPT) / SCRIPT

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        folder = self._home / "env"
        marker = folder / digest({"requirements": REQUIREMENTS.read_text(), "python": sys.version})
        if not marker.exists():
            _done([sys.executable, "-m", "venv", "--clear", folder])
            _done([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS])
            marker.touch()
        return folder / "bin" / "python"

    def run(self, program: str, *arguments: object) -> str:
        """What a program prints. Raises UserError with its last words."""
        return _done(self._command(program, *arguments), cwd=ROOT, env=self._environment())

    def start(self, program: str, *arguments: object) -> "subprocess.Popen[bytes]":
        """A program that is talked to over its pipes."""
        return subprocess.Popen(
            self._command(program, *arguments),
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def train(self, job: dict[str, Any]) -> list[list[int]]:
        """The curve of QAM's released code; a job is explained in `benchmarks.ogbench.peer.train`."""
        return json.loads(self.run("train", self.qam, json.dumps(job)).splitlines()[-1])

    def _command(self, program: str, *arguments: object) -> list[str]:
        return [str(self.python), "-m", f"benchmarks.ogbench.peer.{program}", *map(str, arguments)]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **ONE_CORE, "PYTHONPATH": str(ROOT)}


class RemoteWorlds:
    """`Worlds` in the peers' environment."""

    def __init__(self, peers: Peers, environment: str, count: int) -> None:
        self.count = count
        self._process = peers.start("worlds", environment, count)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Worlds`."""
        return self._asked(np.asarray(seeds, np.int64), answers=1)[0]

    def step(self, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Worlds`."""
        seen, over, success = self._asked(chunks, answers=3)
        return seen, over, success

    def close(self) -> None:
        """End the simulations."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _asked(self, question: np.ndarray, answers: int) -> list[np.ndarray]:
        assert self._process.stdin
        assert self._process.stdout
        send(self._process.stdin, question)
        return [receive(self._process.stdout) for _ in range(answers)]


def _checkout(folder: Path, source: str, commit: str, *paths: str) -> Path:
    marker = folder / ".git" / commit
    if not marker.exists():
        if not (folder / ".git").exists():
            _done(["git", "clone", "--quiet", "--no-checkout", source, folder])
        _done(["git", "-C", folder, "checkout", "--quiet", commit, "--", *paths])
        marker.touch()
    return folder


def _done(command: Sequence[object], **options: Any) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-8:])
        raise UserError(f"{' '.join(map(str, command[:4]))} …: exit code {done.returncode}\n{last}")
    return done.stdout
