"""`lwd serve` as it is started: a process that says where it is, ends on SIGTERM, and keeps its token."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.settings import Settings
from tests.lwd_core.fleet.test_channel import bundle, release
from tests.lwd_core.serve.robots import Client

TOKEN = "a-token-nobody-may-read"


@pytest.mark.servers
def test_it_serves_a_channel_until_sigterm(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    made = bundle(settings, 1)
    release(settings, made, now_ns=time.time_ns())
    with subprocess.Popen(
        [sys.executable, "-m", "lwd_core.cli.main", "serve", "--port", "0", "--seed", "3", "--json"],
        env=os.environ | {"LWD_HOME": str(tmp_path), "LWD_SERVE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            at = json.loads(server.stdout.readline())
            assert at["seed"] == 3
            header = {"Authorization": f"Api-Key {TOKEN}"}
            with Client(at["url"], "arm", additional_headers=header) as robot:
                answer = robot.ask(state=np.zeros(39))
                assert (answer["policy_id"], answer["actions"].shape) == (made.policy_id, (5, 4))
        finally:
            server.send_signal(signal.SIGTERM)
            out, said = server.communicate(timeout=100)
    assert server.returncode == 143
    assert "1 answers, latency P50" in said
    assert TOKEN not in out + said


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("--host 0.0.0.0", "give a token (--token-file, or LWD_SERVE_TOKEN)"),
        ("--policy ./nothing", "no policy there; give its folder"),
        ("--device tpu", "device 'tpu': not here"),
        ("--token-file nowhere", "nowhere: can't be read"),
        ("--client-ca ca.pem", "--client-ca: needs --tls-cert"),
    ],
)
def test_what_it_can_t_begin_with_is_one_line(
    words: str, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    monkeypatch.delenv("LWD_SERVE_TOKEN", raising=False)
    Settings(home=str(tmp_path))
    bundle(Settings(), 1)
    result = CliRunner().invoke(app, ["serve", *words.split()])
    assert match in str(result.exception)
