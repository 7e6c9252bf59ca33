"""A real server on 127.0.0.1, real connections."""

import json
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lwd_core.errors import UserError
from lwd_core.fleet.channel import ReleasedPolicies
from lwd_core.serve.access import Access
from lwd_core.serve.newest import OnePolicy
from lwd_core.settings import Settings
from tests.lwd_core.fleet.test_channel import bundle, release, renew
from tests.lwd_core.serve.robots import Client, Releases, Stub, packed, served

TOKEN = "a-token-nobody-may-read"


def page(url: str, **headers: str):
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def closed(line: socket.socket) -> bool:
    """Whether the other side has closed it."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_robots_that_wait_together_are_asked_for_together() -> None:
    policy = Stub()
    with (
        served(OnePolicy(policy, 0), wait_s=10.0) as server,
        ThreadPoolExecutor(2) as robots,
        Client(server.at.url, "a") as a,
    ):
        assert a.ask()["server_timing"]["robots"] == 1, "alone it waits for nobody"
        with Client(server.at.url, "b") as b:
            asked = [robots.submit(c.ask, state=np.full(2, i)) for i, c in enumerate((a, b))]
            answers = [answer.result() for answer in asked]
        assert [answer["server_timing"]["robots"] for answer in answers] == [2, 2]
        assert [answer["actions"][0, 1] for answer in answers] == [0, 1], "each its own"
        assert policy.batches == [1, 2]
    tally = server.end()
    assert (tally.answers, tally.batches, tally.connections) == (3, 2, 2)
    assert "3 answers, latency P50" in tally.line()


def test_while_a_policy_plans_the_others_gather_and_nobody_waits_beyond_the_bound() -> None:
    policy = Stub()
    with (
        served(OnePolicy(policy, 0), wait_s=0.0) as server,
        ThreadPoolExecutor(3) as robots,
        Client(server.at.url) as a,
        Client(server.at.url) as b,
        Client(server.at.url) as c,
    ):
        policy.gate.clear()
        first = robots.submit(a.ask)
        assert policy.begun.wait(20), "it was asked for at once, though three are there"
        later = [robots.submit(one.ask) for one in (b, c)]
        until(lambda: all(robot["episode"] for robot in json.loads(page(server.at.page)[1])["robots"]))
        policy.gate.set()
        assert [one.result()["server_timing"]["robots"] for one in (first, *later)] == [1, 2, 2]


def test_a_fault_of_one_robot_is_its_own() -> None:
    """A picture that turns out torn, and a policy that fails, beside a robot that is right."""
    policy = Stub(cameras=("top",))
    good, torn = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 13, np.uint8)
    with (
        served(OnePolicy(policy, 0), wait_s=10.0) as server,
        ThreadPoolExecutor(2) as robots,
        Client(server.at.url, "a") as a,
        Client(server.at.url, "b") as b,
    ):
        for wrong, match in (
            ({"images/top": torn}, "camera top: torn"),
            ({"images/top": good, "state": np.full(2, 13.0)}, "it failed here, .*the server's log says how"),
        ):
            bad = robots.submit(b.ask, **wrong)
            right = robots.submit(a.ask, **{"images/top": good})
            assert right.result()["actions"].shape == (2, 4)
            with pytest.raises(UserError, match=match):
                bad.result()
        both = [robots.submit(one.ask, **{"images/top": good}) for one in (a, b)]
        assert [one.result()["server_timing"]["robots"] for one in both] == [2, 2], "both go on"
    assert any("RuntimeError: a fault" in line for line in server.said)


def test_the_same_seed_gives_the_same_answers_whoever_else_asks() -> None:
    def noises(others: int, seed: int) -> list[float]:
        with served(OnePolicy(Stub(), 0), seed=seed) as server:
            crowd = [Client(server.at.url) for _ in range(others)]
            with Client(server.at.url, "arm-7") as robot:
                found = []
                for anew in (False, False, True):
                    for other in crowd:
                        other.ask()
                    found.append(float(robot.ask(reset=anew)["actions"][0, 3]))
            for other in crowd:
                other.close()
            with Client(server.at.url, "arm-7") as robot:  # another episode, so other noise
                return [*found, float(robot.ask()["actions"][0, 3])]

    alone = noises(0, 7)
    assert alone == noises(2, 7)
    assert len({*alone, *noises(0, 8)}) == 8


def test_a_release_is_taken_between_episodes_only() -> None:
    source = Releases(Stub(1))
    with served(source, pause_s=30.0) as server, Client(server.at.url, "a") as robot:
        assert (robot.about["policy_id"], robot.about["state"]) == ("stub-1", {"arm": 2})
        assert [robot.ask()[name] for name in ("policy_id", "release_id", "episode")] == [
            "stub-1",
            "release-1",
            1,
        ]
        source.release(Stub(2))
        assert robot.ask()["policy_id"] == "stub-1", "within an episode nothing changes"
        with Client(server.at.url) as other:
            assert other.ask()["policy_id"] == "stub-2", "a connection begins one"
        answer = robot.ask(reset=True)
        assert (answer["policy_id"], answer["episode"], answer["actions"].shape) == ("stub-2", 2, (2, 4))
        about = robot.send(packed({"reset": True}))
        assert (about["policy_id"], about["episode"], about["chunk"]) == ("stub-2", 3, 2)
        with pytest.raises(UserError, match="reset: 1; send true with an episode's first observation"):
            robot.ask(reset=1)
        source.release(None)
        assert robot.ask()["policy_id"] == "stub-2"
        with pytest.raises(UserError, match="no policy to run on channel production"):
            robot.ask(reset=True)
        assert page(server.at.page.replace("status", "healthz"))[0] == 503
        source.release(Stub(3))
        assert robot.ask()["policy_id"] == "stub-3", "it goes on where there is one again"


def test_a_client_that_says_nothing_gets_the_next_after_a_pause() -> None:
    source = Releases(Stub(1))
    with served(source, pause_s=0.3) as server, Client(server.at.url) as robot:
        assert robot.ask()["episode"] == 1
        source.release(Stub(2))
        time.sleep(0.35)
        answer = robot.ask()
        assert (answer["policy_id"], answer["episode"]) == ("stub-2", 2)


def test_what_has_expired_or_does_not_act_is_not_taken() -> None:
    source = Releases(Stub(1), expires_ns=time.time_ns() + 10**18)
    with served(source) as server, Client(server.at.url) as robot:
        robot.ask()
        broken = Stub(2)
        broken.instructions = ()
        source.release(broken)
        assert robot.ask(reset=True)["policy_id"] == "stub-1"
        assert any("channel production: tuple index" in line for line in server.said)
        source.expires_ns = 1
        source.release(Stub(3))
        with pytest.raises(UserError, match="expired"):
            robot.ask(reset=True)


def test_a_channel_is_followed_and_verified(tmp_path) -> None:
    settings = Settings(home=str(tmp_path))
    now = time.time_ns()
    first, second = bundle(settings, 1), bundle(settings, 2)
    said: list[str] = []
    state = {"state": np.zeros(39, np.float32)}
    with (
        served(ReleasedPolicies(settings, said.append), seed=3) as server,
        Client(server.at.url, "r") as robot,
    ):
        assert robot.about["policy_id"] is None
        assert "no policy to run" in robot.about["problem"]
        release(settings, first, now_ns=now)
        until(lambda: any(first.policy_id in line for line in server.said))
        answer = robot.ask(**state)
        assert answer["policy_id"] == first.policy_id
        weights = tmp_path / "policies" / second.policy_id / "weights.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + b"x")
        release(settings, second, now_ns=now)
        until(lambda: said)
        assert "do not match the manifest" in said[0]
        assert robot.ask(reset=True, **state)["policy_id"] == first.policy_id, (
            "what does not verify is not run"
        )
        weights.write_bytes(whole)
        renew(settings, now)  # else it is tried again after a minute
        until(lambda: any(second.policy_id in line for line in server.said))
        third = robot.ask(reset=True, **state)
        assert third["policy_id"] == second.policy_id
    with served(ReleasedPolicies(settings), seed=3) as server, Client(server.at.url, "r") as robot:
        for _ in range(2):
            robot.ask(reset=True, **state)
        again = robot.ask(reset=True, **state)
        np.testing.assert_array_equal(again["actions"], third["actions"])


def test_bad_input_is_answered_by_a_line_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwd_core.extras._there", lambda _: False)  # no sentence encoder
    with (
        served(OnePolicy(Stub(), 0), message_bytes=100_000) as server,
        Client(server.at.url, "good") as good,
        Client(server.at.url, "bad") as bad,
    ):
        for message, match in (
            (packed({"state": np.zeros(3), "prompt": "x"}), "state: 3 numbers"),
            (packed({"state": np.full(2, np.nan), "prompt": "x"}), r"state\[0\]: nan"),
            (b"\xc1", "message: no msgpack"),
            ("hello", "message: text; send msgpack in a binary message"),
            (packed({"state": np.zeros(2), "prompt": "sing"}), "prompt: .*open the drawer.*pip install"),
        ):
            with pytest.raises(UserError, match=match):
                bad.send(message)
            assert good.ask()["actions"].shape == (2, 4)
        assert bad.ask()["actions"].shape == (2, 4), "the line stays open"
        with pytest.raises(ConnectionClosed, match=r"message too big.*limit of 100000 bytes"):
            bad.ask(state=np.zeros(50_000))
        good.ask()
        status = json.loads(page(server.at.page)[1])
        assert (status["answers"], status["refused"], status["state"]) == (7, 6, "serving")
        assert [robot["robot"] for robot in status["robots"]] == ["good"]
        assert status["latency_ms"]["n"] == 7
        assert status["latency_ms"]["p50"] <= status["latency_ms"]["p99"]
    lines = [line for line in server.said if line.startswith("robot bad")]
    assert len(lines) == 1, "one line a connection"


def test_a_killed_robot_harms_nobody() -> None:
    policy = Stub()
    with (
        served(OnePolicy(policy, 0), wait_s=0.01) as server,
        ThreadPoolExecutor(1) as robots,
        Client(server.at.url) as good,
    ):
        dead = Client(server.at.url)
        policy.gate.clear()
        waits = robots.submit(good.ask)
        dead.line.send(packed({"state": np.zeros(2), "prompt": "close it"}))
        dead.line.socket.shutdown(socket.SHUT_RDWR)
        policy.gate.set()
        assert waits.result()["actions"].shape == (2, 4)
        until(lambda: len(json.loads(page(server.at.page)[1])["robots"]) == 1)
        assert good.ask()["actions"].shape == (2, 4)


def test_no_more_robots_than_it_takes() -> None:
    with served(OnePolicy(Stub(), 0), robots=1) as server:
        with Client(server.at.url):
            with pytest.raises(InvalidStatus) as refused:
                Client(server.at.url)
            assert refused.value.response.status_code == 503
            assert b"1 robots are here" in refused.value.response.body
            host, port = server.at.url.removeprefix("ws://").split(":")
            with ExitStack() as idle:
                many = [idle.enter_context(socket.create_connection((host, port), 20)) for _ in range(40)]
                assert closed(many[-1]), "what says nothing takes no more than its share"
        until(lambda: page(server.at.page)[0] == 200)
        Client(server.at.url).close()


def test_the_token_is_asked_for_and_said_nowhere() -> None:
    config = {"access": Access(token=TOKEN)}
    with served(OnePolicy(Stub(), 0), **config) as server:
        for header in ({}, {"Authorization": "Api-Key wrong"}, {"Authorization": TOKEN}):
            with pytest.raises(InvalidStatus) as refused:
                Client(server.at.url, additional_headers=header)
            assert refused.value.response.status_code == 401
            assert page(server.at.page, **header)[0] == 401
        for scheme in ("Api-Key", "Bearer"):
            header = {"Authorization": f"{scheme} {TOKEN}"}
            with Client(server.at.url, additional_headers=header) as robot:
                assert robot.ask()["episode"] == 1
                status = page(server.at.page, **header)[1]
        assert page(server.at.page.replace("status", "healthz")) == (200, "OK\n")
    assert json.loads(status)["turned_away"] == 6
    assert TOKEN not in repr(config) + status + str(server.said)


def test_a_page_of_a_browser_gets_nothing() -> None:
    with served(OnePolicy(Stub(), 0)) as server:
        for header in ({"Origin": "http://127.0.0.1:1"}, {"Host": "evil.example"}):
            assert page(server.at.page, **header)[0] == 403
        with pytest.raises(InvalidStatus) as refused:
            Client(server.at.url, origin="https://evil.example")
        assert refused.value.response.status_code == 403
        assert page(server.at.page.replace("status", "else"))[0] == 404
        assert page(server.at.page.replace("status", "?robot=a%20b"))[0] == 400


def test_it_drains_answers_what_is_under_way_and_goes() -> None:
    policy = Stub()
    with served(OnePolicy(policy, 0)) as server, ThreadPoolExecutor(1) as robots:
        busy, idle = Client(server.at.url), Client(server.at.url)
        policy.gate.clear()
        waits = robots.submit(busy.ask)
        until(lambda: json.loads(page(server.at.page)[1])["robots"][0]["episode"] == 1)
        server.stop.set()
        with pytest.raises(ConnectionClosed, match="1001.*the server stops"):
            idle.line.recv(timeout=20)
        assert page(server.at.page.replace("status", "healthz")) == (503, "the server stops\n")
        policy.gate.set()
        assert waits.result()["actions"].shape == (2, 4)
        with pytest.raises(ConnectionClosed, match="1001"):
            busy.line.recv(timeout=20)
        assert server.end().answers == 1
        busy.close()
        idle.close()


def test_a_port_that_is_taken_is_said() -> None:
    with served(OnePolicy(Stub(), 0)) as server:
        port = int(server.at.url.rsplit(":", 1)[1])
        other = served(OnePolicy(Stub(), 0), port=port)
        with pytest.raises(UserError, match=f"127.0.0.1 port {port}: can't listen there"):
            other.__enter__()
