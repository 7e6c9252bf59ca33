"""As much of the Hugging Face Hub as its client needs to push and pull, on 127.0.0.1."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee00" * 5


class Hub:
    """``files`` by repository and name; ``asked`` is what was requested, ``tokens`` who asked."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.made: list[dict] = []
        self.tags: list[str] = []
        self.refuse: set[str | None] = set()
        self.url = ""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            token = self.headers.get("Authorization")
            hub.tokens.add(token)
            if token in hub.refuse:
                self._say(401, {"error": f"Invalid credentials: {token}"})
            elif path == "/api/repos/create":
                asked = json.loads(body)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                hub.made.append(asked)
                hub.files.setdefault(name, {})
                self._say(200, {"url": f"{hub.url}/{name}"})
            elif found := re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)(?:/(\w+)(?:/(.*))?)?", path):
                self._of_repo(found[1], found[2] or "revision", found[3], body)
            elif found := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                self._file(hub.files.get(found[1], {}).get(found[2]))
            elif path == "/api/validate-yaml":
                self._say(200, {"errors": [], "warnings": []})
            else:
                self._say(404, {"error": "no such thing"})

        def _of_repo(self, repo: str, what: str, rest: str | None, body: bytes) -> None:
            if repo not in hub.files:
                self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            elif what == "preupload":
                files = json.loads(body)["files"]
                answer = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
                self._say(200, {"files": answer})
            elif what == "commit":
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        hub.files[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self._say(200, {"commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})
            elif what == "tag":
                hub.tags.append(json.loads(body)["tag"])
                self._say(200, {})
            elif what == "tree":
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in hub.files[repo].items()
                ]
                self._say(200, tree)
            else:
                self._say(200, {"id": repo, "sha": COMMIT, "siblings": [], "tags": [], "private": True})

        def _file(self, data: bytes | None) -> None:
            if data is None:
                self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
                return
            etag = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(200, data, "application/octet-stream", etag)

        def _say(self, code: int, value: object, headers: dict[str, str] | None = None) -> None:
            self._send(code, json.dumps(value).encode(), "application/json", headers or {})

        def _send(self, code: int, data: bytes, kind: str, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub without anything in it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
