"""Pages beside the UI: those under the reports, nothing else, and nothing in them runs."""

from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.schemas import page
from pipelines.webserver import Webserver, show


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    (tmp_path / "reports" / "tiny").mkdir(parents=True)
    (tmp_path / "reports" / "tiny" / "index.html").write_text("<h1>hello</h1>")
    (tmp_path / "reports" / "notes.txt").write_text("not a page")
    (tmp_path / "secret.html").write_text("not below the reports")
    return tmp_path / "reports"


def get(path: str) -> Response:
    return show(Request({"type": "http", "path_params": {"path": path}, "headers": []}))


def test_a_linked_page_is_shown_and_may_not_act(reports: Path) -> None:
    link = page(str(reports), str(reports / "tiny" / "index.html")).value
    assert link == "/reports/tiny/index.html"
    answer = get("tiny/index.html")
    assert (answer.status_code, bytes(answer.body)) == (200, b"<h1>hello</h1>")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize(
    "path",
    ["../secret.html", "tiny/../../secret.html", "/etc/hostname", "notes.txt", "tiny", "none.html", ""],
)
def test_anything_else_is_no_page(reports: Path, path: str) -> None:
    assert get(path).status_code == 404


def test_pages_go_before_the_catch_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_webserver.webserver.DagsterWebserver.build_routes", lambda self: [])
    (route,) = Webserver.build_routes(object.__new__(Webserver))
    assert isinstance(route, Route)
    assert route.path == "/reports/{path:path}"
