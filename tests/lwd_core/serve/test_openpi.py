"""openpi's own client, unchanged, from the registry into a folder of its own.

Its requirements (NumPy before 2, dm-tree) exclude this platform's, so it is no dependency of the tests: the
wheel alone is fetched, and where the registry can't be reached this test is left out. The other tests of the
room speak the same bytes.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lwd_core.serve.access import Access
from lwd_core.serve.newest import OnePolicy
from tests.lwd_core.serve.robots import WORDS, Stub, served

CLIENT = "openpi-client==0.1.2"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "openpi"), CLIENT]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        pytest.skip(f"{CLIENT} can't be had here: {done.stderr.strip()[-200:]}")
    monkeypatch.syspath_prepend(str(tmp_path / "openpi"))
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    yield WebsocketClientPolicy
    for name in [name for name in sys.modules if name.startswith("openpi_client")]:
        sys.modules.pop(name)


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_openpis_client_acts_resets_and_hears_of_faults(client) -> None:
    policy, token = Stub(cameras=("top",)), "a-token-nobody-may-read"
    picture = np.full((24, 32, 3), 9, np.uint8)
    seen = {"observation/state": np.ones(2), "observation/images/top": picture, "prompt": WORDS}
    with served(OnePolicy(policy, 0), access=Access(token=token)) as server:
        host, port = server.at.url.rsplit(":", 1)
        robot = client(host, int(port), api_key=token)
        try:
            about = robot.get_server_metadata()
            assert (about["policy_id"], about["cameras"], about["state"]) == ("stub-1", ["top"], {"arm": 2})
            answer = robot.infer(seen)
            assert answer["actions"].shape == (2, 4)
            assert answer["actions"].dtype == np.float32
            assert (policy.shown[0]["top"] == picture).all()
            assert robot.infer(seen | {"reset": True})["episode"] == 2
            with pytest.raises(RuntimeError, match="images/top: missing"):
                robot.infer({"observation/state": np.ones(2), "prompt": WORDS})
            assert robot.infer(seen)["server_timing"]["infer_ms"] >= 0
        finally:
            robot._ws.close()
