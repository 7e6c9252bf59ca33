"""A model asked over the network: what leaves is said first, is what was said, and the key stays at home."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.judges import vlm
from lwd_core.judges.vlm import KEY, Endpoint, VlmJudge
from lwd_core.labels.labeller import run_labellers
from lwd_core.lake.store import Lake
from tests.lwd_core.recorded import recorded_lake
from tests.lwd_core.snapshots.lakes import add_episode

SECRET = "sk-not-to-be-seen"


class Stub:
    """An endpoint on 127.0.0.1 that answers ``reply`` (status, text) and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.bytes = 0
        self.reply: Callable[[int], tuple[int, str]] = lambda _: (200, completion("success", 0.9))
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.sent.append({"path": self.path, **json.loads(body)})
                stub.bytes += len(body)
                stub.keys.append(self.headers.get("Authorization", ""))
                status, text = stub.reply(len(stub.sent))
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", text)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def completion(outcome: str, chance: Any, reason: str = "the cup is there") -> str:
    said = json.dumps({"outcome": outcome, "chance": chance, "reason": reason})
    message = {"role": "assistant", "content": f"```json\n{said}\n```"}
    return json.dumps({"choices": [{"message": message}], "usage": {"total_tokens": 123}})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(vlm, "WAIT_S", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    one = Stub()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("vlm")
    recorded_lake(home / "lake")
    return home


@pytest.fixture
def lake(home: Path) -> Lake:
    return Lake.open(str(home / "lake"))


def test_nothing_is_sent_before_it_is_said_and_wanted(
    home: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWD_HOME", str(home))
    monkeypatch.setenv(KEY, SECRET)
    words = ["label", "ask", "--url", stub.url, "--model", "Eye-1", "--pictures", "3", "--json"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    plan = json.loads(said.stdout)
    assert not stub.sent
    assert not plan["sent"]
    assert plan["requests"] > 0
    assert plan["pictures"] == 3 * plan["requests"]
    done = CliRunner().invoke(app, [*words, "--yes"])
    told = json.loads(done.stdout)
    assert len(stub.sent) == plan["requests"] == told["spent"]["requests"]
    assert told["spent"]["tokens"] == 123 * plan["requests"]
    shown = [part for body in stub.sent for part in body["messages"][0]["content"] if "image_url" in part]
    assert len(shown) == plan["pictures"]
    data = [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in shown]
    assert sum(map(len, data)) == plan["pictures_bytes"]
    assert abs(stub.bytes - plan["sent_bytes"]) < 0.1 * plan["sent_bytes"]
    assert set(stub.keys) == {f"Bearer {SECRET}"}
    assert SECRET not in said.output + done.output
    whole = json.dumps(stub.sent)
    lake = Lake.open(str(home / "lake"))
    facts = lake.sql("SELECT episode_id, robot_id, site FROM episodes").to_pylist()
    assert not [value for row in facts for value in row.values() if value in whole]
    layer = lake.labels("vlm.eye_1@1").to_pylist()
    assert {(row["kind"], row["text"], row["value"], row["said_by"]) for row in layer} == {
        ("outcome", "success", 0.9, None)
    }
    again = json.loads(CliRunner().invoke(app, [*words, "--yes"]).stdout)
    assert again["run"]["episodes"] == 0
    lake.replace("labels", lake.read("labels").slice(0, 0), {"layer_id": ["vlm.eye_1@1"]})


def test_what_is_no_answer_fails_that_episode_alone(lake: Lake, stub: Stub) -> None:
    answers = {
        1: (200, "not json"),
        2: (200, '{"choices": []}'),
        3: (200, completion("maybe", 1)),
        4: (400, "{}"),
    }
    stub.reply = lambda i: answers.get(i, (200, completion("failure", "high")))
    judge = VlmJudge(Endpoint(stub.url, "odd"))
    (run,) = run_labellers(lake, [judge], now_ns=1)
    assert [why[:22] for why in run.failed.values()] == [
        "odd: answered no JSON ",
        "odd: answered no chat ",
        "odd: answered '```json",
    ]
    (run,) = run_labellers(lake, [judge], now_ns=1)
    assert list(run.failed.values()) == ["odd: refused with 400"]
    said = lake.labels("vlm.odd@1").to_pylist()
    assert len(said) == run.episodes == 2
    assert {(row["text"], row["value"]) for row in said} == {("failure", None)}


def test_it_waits_and_asks_again_and_gives_up_where_nobody_lets_it_in(lake: Lake, stub: Stub) -> None:
    stub.reply = lambda i: (429, "") if i < 3 else (200, completion("success", 1))
    judge = VlmJudge(Endpoint(stub.url, "busy", SECRET))
    (run,) = run_labellers(lake, [judge], now_ns=1, where="episode_id = 'e0000'")
    assert (run.episodes, judge.spent["requests"]) == (1, 3)
    for status, said in ((401, "401, it lets nobody in"), (503, "503, 4 times"), (404, "404, no such path")):
        stub.reply = lambda _, status=status: (status, "")
        with pytest.raises(UserError, match=said) as refused:
            run_labellers(lake, [VlmJudge(Endpoint(stub.url, "shut", SECRET))], now_ns=1)
        assert SECRET not in str(refused.value)
    assert SECRET not in repr(judge)


def test_a_redirect_gets_neither_pictures_nor_key(lake: Lake, stub: Stub) -> None:
    other = Stub()
    try:
        for status in (302, 307):
            stub.reply = lambda _, status=status: (status, f"{other.url}/chat/completions")
            judge = VlmJudge(Endpoint(stub.url, "sly", SECRET))
            (run,) = run_labellers(lake, [judge], now_ns=1, where="episode_id = 'e0000'")
            assert run.failed == {"e0000": f"sly: refused with {status}"}
        assert not other.sent
    finally:
        other.server.shutdown()
        other.server.server_close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://me:pw@x/v1", "no address"),
        ("http://models.example/v1", "use https"),
        ("https://me:pw@x/v1", KEY),
        ("http://127.0.0.1:port/v1", "no address"),
        ("http://127.0.0.1:0/v1", "port 0"),
        ("http://[::1/v1", "no address"),
        ("https://x/v 1", "no address"),
        ("https://x/v1\r\nHost: y", "no address"),
        ("https://x/é", "no address"),
    ],
)
def test_an_address_that_would_tell_too_much_is_refused(url: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        Endpoint(url, "m")
    assert "pw" not in str(refused.value)


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(lake: Lake, stub: Stub) -> None:
    judge = VlmJudge(Endpoint(stub.url, "stripped", f"{SECRET}\r\n"))
    run_labellers(lake, [judge], now_ns=1, where="episode_id = 'e0000'")
    assert stub.keys == [f"Bearer {SECRET}"]
    for key in (f"{SECRET}\r\nHost: x", f"{SECRET} b", f"{SECRET}é"):
        with pytest.raises(UserError, match=f"^{KEY}: ") as refused:
            Endpoint(stub.url, "m", key)
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("model", ["", "///", "_", "é"])
def test_a_model_whose_layer_would_have_no_name_is_refused(model: str) -> None:
    with pytest.raises(UserError, match="^model .*no letter or digit"):
        Endpoint("https://x/v1", model)


def test_a_server_that_speaks_no_http_is_not_reached(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm, "WAIT_S", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            for _ in range(vlm.ATTEMPTS):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"\x00garbage\r\n\r\n")
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        pass

        threading.Thread(target=babble, daemon=True).start()
        judge = VlmJudge(Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}/v1", "odd"))
        with pytest.raises(UserError, match="not reached .BadStatusLine"):
            run_labellers(lake, [judge], now_ns=1, where="episode_id = 'e0000'")


def test_words_no_label_can_hold_are_left_out_of_a_reason(lake: Lake, stub: Stub) -> None:
    stub.reply = lambda _: (200, completion("success", 1, "a\x1b]0;b\ud800c"))
    run_labellers(lake, [VlmJudge(Endpoint(stub.url, "raw"))], now_ns=1, where="episode_id = 'e0000'")
    assert lake.labels("vlm.raw@1")["detail"].to_pylist() == ["a ]0;b c"]
    stub.reply = lambda _: (200, "[" * 100_000)
    (run,) = run_labellers(
        lake, [VlmJudge(Endpoint(stub.url, "deep"))], now_ns=1, where="episode_id = 'e0000'"
    )
    assert run.failed["e0000"].startswith("deep: answered no JSON")


def test_a_plan_says_which_episodes_have_no_picture(lake: Lake, tmp_path: Path) -> None:
    endpoint = Endpoint("https://x/v1", "m")
    with pytest.raises(UserError, match="camera nosuch: none of .* episodes has a picture of it; there are"):
        VlmJudge(endpoint, "nosuch").plan(lake)
    with pytest.raises(UserError, match="syntax error"):
        VlmJudge(endpoint).plan(lake, where="1=1) --")
    blind = Lake.open(str(tmp_path / "blind"), create=True)
    add_episode(blind, 0, 3)
    assert str(VlmJudge(endpoint).plan(blind)).endswith("; 1 episodes have no picture of any camera")
