"""The audit tells holes, no holes and no answer apart."""

import json
import os
import subprocess
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
SOUND = {"name": "a", "version": "1", "vulns": []}
HOLE = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def audit(folder: Path, answer: str, **environment: str) -> subprocess.CompletedProcess[str]:
    tool = folder / "pip-audit"
    tool.write_text(f"#!/bin/sh\ncat <<'EOF'\n{answer}\nEOF\n")
    tool.chmod(0o755)
    return subprocess.run(
        [AUDIT],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("found", "required", "code", "said"),
    [
        ([SOUND], "0", 0, "1 packages, no known hole"),
        ([SOUND, HOLE, UNKNOWN], "0", 1, "b 2: CVE-1, mended in 3"),
        ([SOUND, UNKNOWN], "0", 0, "NOT AUDITED: the advisory database knows nothing of 1 of 2 packages"),
        ([SOUND, UNKNOWN], "1", 3, "NOT AUDITED"),
    ],
)
def test_holes_no_holes_and_no_answer(
    tmp_path: Path, found: list[dict], required: str, code: int, said: str
) -> None:
    done = audit(tmp_path, json.dumps({"dependencies": found}), AUDIT_REQUIRED=required)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done


def test_a_tool_that_fails_is_no_pass(tmp_path: Path) -> None:
    assert audit(tmp_path, "no network", AUDIT_REQUIRED="1").returncode == 3
