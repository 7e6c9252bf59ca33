"""The server: what it answers, and whom it doesn't."""

import json
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.studio.desk import Desk
from lwd_core.studio.guard import POLICY
from lwd_core.studio.server import application
from tests.lwd_core.recorded import jpeg

PORT, KEY = 3100, "a-key"
HERE = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def desk(home: Path) -> Desk:
    desk = Desk(Settings())
    desk.catalogues.newest(now=True)
    return desk


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    """Of a server that ada labels at."""
    with ExitStack() as closing:
        yield TestClient(application(desk, PORT, by="ada", key=KEY, closing=closing), base_url=HERE)


def test_pages_and_cards(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == POLICY
    assert client.get("/static/main.js").headers["content-type"].startswith("text/javascript")
    found = client.get("/api/episodes", params={"offset": 1, "limit": 1}).json()
    assert found["total"] == 3
    assert [card["episode_id"] for card in found["cards"]] == ["e0001"]
    assert client.get("/api/place", params={"episode": "e0000"}).json()["place"] == 2
    assert client.get("/api/counts").json()["counts"]["robot_id"] == [["r0", 1], ["r1", 1], ["r2", 1]]
    state = client.get("/api/state").json()
    assert (state["episodes"], state["by"]) == (3, "ada")


def test_pictures_are_the_robots_bytes(client: TestClient) -> None:
    assert client.get("/api/strips", params={"ids": "e0000,e0001,nobody"}).json() == {"e0000": 8, "e0001": 8}
    assert client.get("/api/strip/e0000/0").content == jpeg(0, 1)
    about = client.get("/api/episode/e0001").json()
    (camera,) = about["cameras"]
    assert camera["step"] == list(range(1, 51, 2))
    frame = client.get("/api/frame/e0001/0/3")
    assert frame.content == jpeg(1, 7)
    assert frame.headers["content-type"] == "image/jpeg"
    assert frame.headers["cache-control"] == "no-store", "what is erased stays in no browser"
    assert client.get("/api/frame/e0001/0/99").status_code == 404
    assert client.get("/api/frame/e0001/1/0").status_code == 404


def test_an_episode_tells_all(client: TestClient) -> None:
    about = client.get("/api/episode/e0000").json()
    assert about["start_ns"] == str(10**18), "JavaScript has no whole numbers of this size"
    assert about["t"][:2] == [0.0, 0.1]
    assert {"step": 5, "what": "masked", "t": 0.5} in about["events"]
    checks = [row["detail"] for row in about["labels"] if row["kind"] == "quality"]
    assert checks[0] == "it jumps <b>there</b>"
    assert about["values"] == [], "no run is at hand whose law could be shown"
    assert about["log"]["uri"] == "north/2026-01-01/run 0.mcap"
    assert client.get("/api/episode/e0000/lineage").json() == {
        "snapshots": [],
        "policies": [],
        "releases": [],
    }
    gone = client.get("/api/episode/e00")
    assert gone.status_code == 404
    assert "may have been erased" in gone.json()["error"]


def test_curves_are_the_lakes_numbers(client: TestClient, home: Path) -> None:
    data = client.get("/api/episode/e0001/curves").content
    (length,) = struct.unpack_from("<I", data)
    lines, at = json.loads(data[4 : 4 + length]), 4 + length
    found = {}
    for line in lines:
        n = line["points"]
        steps, values = np.frombuffer(data, "<i4", n, at), np.frombuffer(data, "<f4", n, at + 4 * n)
        found[line["group"], line["name"]] = steps, values
        at += 8 * n
    assert at == len(data)
    episode = Lake.open(str(home / "lake")).episode("e0001")
    assert np.array_equal(found["state", "2"][1], episode["state"][:, 2])
    assert np.array_equal(found["proposed", "1"][1], episode["proposed"][:, 1])
    assert found["reward", "outcome"][1].tolist() == [0.0] * 50


def test_a_wrong_question_is_a_line(client: TestClient) -> None:
    for path in (
        "/api/episodes?where=nothing",
        "/api/episodes?colour=red",
        "/api/episodes?offset=-1",
        "/api/queue/none",
    ):
        said = client.get(path)
        assert said.status_code == 400, path
        assert said.json()["error"]
    assert client.get("/static/../server.py").status_code == 404
    assert client.get("/static/nothing.js").status_code == 404


def test_what_nobody_would_ask_is_a_line_too(client: TestClient, home: Path) -> None:
    long = "9" * 5000
    for path in ("/static/" + "a" * 400 + ".js", f"/api/strip/e0000/{long}", f"/api/frame/e0000/{long}/0"):
        assert client.get(path).status_code in (400, 404), path[:40]
    half = "\\ud800"
    for path, body in (
        ("/api/views", f'{{"name": "{half}", "query": ""}}'),
        ("/api/views", '{"name": {"a": 1}, "query": ["x"]}'),
        ("/api/views", "[" * 100_000),
        ("/api/labels", f'{{"labels": [{{"episode_id": "{half}"}}]}}'),
        ("/api/episode/e0000/rerun", '{"step": "x"}'),
        ("/api/episode/e0000/rerun", '{"step": 1e999}'),
        ("/api/episode/e0000/rerun", '{"step": true}'),
    ):
        headers = {"x-lwd-key": KEY, "content-type": "application/json"}
        said = client.post(path, content=body, headers=headers)
        assert said.status_code == 400, (path, body[:40])
        assert said.json()["error"]
    assert client.get("/api/views").json() == {}
    for wrong in ('["x"]', '{"mine": "x"}', '{"mine": {"query": 3, "by": "ada"}}'):
        (home / "studio" / "views.json").write_text(wrong)
        for said in (
            client.get("/api/views"),
            client.post("/api/views", json={"name": "a", "query": ""}, headers={"x-lwd-key": KEY}),
        ):
            assert said.status_code == 400
            assert "no saved views; mend it" in said.json()["error"]


def test_the_state_says_how_labels_fare(client: TestClient) -> None:
    empty = {"waiting": 0, "trouble": "", "refused": 0, "last_refused": ""}
    assert client.get("/api/state").json()["outbox"] == empty
    gone = {"episode_id": "e0009", "kind": "outcome", "text": "success", "at_ms": 1}
    sent = {"labels": [gone], "commit": True}
    assert client.post("/api/labels", json=sent, headers={"x-lwd-key": KEY}).json() == {
        "kept": 1,
        "refused": [],
    }
    deadline = time.monotonic() + 30
    while client.get("/api/state").json()["outbox"]["waiting"] and time.monotonic() < deadline:
        time.sleep(0.05)
    found = client.get("/api/state").json()["outbox"]
    assert (found["waiting"], found["refused"]) == (0, 1)
    assert "e0009" in found["last_refused"]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"host": "evil.example:3100"}, "another server"),  # a name bound to 127.0.0.1
        ({"host": "127.0.0.1:8000"}, "another server"),
        ({"origin": "https://evil.example"}, "another page"),
        ({"origin": "http://127.0.0.1:8000"}, "another page"),
        ({"sec-fetch-site": "cross-site"}, "another page"),
        ({"sec-fetch-site": "same-site"}, "another page"),
    ],
)
def test_other_pages_get_nothing(client: TestClient, headers: dict[str, str], why: str) -> None:
    said = client.get("/api/episodes", headers=headers)
    assert said.status_code == 403
    assert why in said.json()["error"]


def test_without_the_key_nothing_is_changed(client: TestClient) -> None:
    view = {"name": "mine", "query": "outcome=failure"}
    assert client.post("/api/views", json=view).status_code == 403
    assert client.post("/api/views", json=view, headers={"x-lwd-key": "guess"}).status_code == 403
    form = client.post("/api/views", data={"name": "x"}, headers={"x-lwd-key": KEY})
    assert form.status_code == 403
    assert client.get("/api/views").json() == {}
    saved = client.post("/api/views", json=view, headers={"x-lwd-key": KEY})
    assert saved.json() == {"mine": {"query": "outcome=failure", "by": "ada"}}
    dropped = client.request("DELETE", "/api/views/mine", json={}, headers={"x-lwd-key": KEY})
    assert dropped.json() == {}


def test_nobody_named_changes_nothing(desk: Desk, home: Path) -> None:
    with ExitStack() as closing:
        client = TestClient(application(desk, PORT, by="", key=KEY, closing=closing), base_url=HERE)
        for path in ("/api/views", "/api/labels"):
            said = client.post(
                path, json={"name": "a", "query": "b", "labels": []}, headers={"x-lwd-key": KEY}
            )
            assert said.status_code == 400
            assert "--by NAME" in said.json()["error"]
    assert not (home / "studio").exists()


def test_a_raw_log_is_reached_by_its_own_address_alone(client: TestClient) -> None:
    address = client.get("/api/episode/e0002").json()["log"]["address"]
    part = client.get(address, headers={"range": "bytes=4-5", "origin": "https://app.foxglove.dev"})
    assert (part.status_code, part.content) == (206, b"2 ")
    assert part.headers["access-control-allow-origin"] == "*"
    asked = client.options(address, headers={"origin": "https://app.foxglove.dev"})
    assert asked.headers["access-control-allow-private-network"] == "true"
    _, _, episode, token, name = address.split("/")
    for wrong in (f"/log/{episode}/{'0' * 32}/{name}", f"/log/e0001/{token}/{name}"):
        assert client.get(wrong).status_code == 404
    assert client.get(address, headers={"host": "evil.example"}).status_code == 403
    assert client.post(address, json={}).status_code == 403


def test_the_page_makes_no_markup_of_what_it_is_told() -> None:
    static = resources.files("lwd_core.studio") / "static"
    for file in static.iterdir():
        text = file.read_text()
        for danger in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert danger not in text, f"{file.name}: {danger}"
        assert "https://" not in text.replace("https://app.foxglove.dev/", ""), (
            f"{file.name} loads from elsewhere"
        )
