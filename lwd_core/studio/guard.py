"""Who may ask, and what a page may do: the loopback address is reached by every page a browser has open.

- A request whose Host is not this server's is refused: a name that was bound to 127.0.0.1 gets nothing.
- So is one that another origin's page made, by ``Origin`` or by what the browser says of it.
- Whoever changes something sends the key of the link that the command printed.
- The page runs its own modules alone, loads from here alone, and stands in no frame.

Raw logs are the exception: their addresses hold a secret of their own, so that Foxglove can fetch one.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The header of the key, and the folder of raw logs.
KEY, LOGS = "x-lwd-key", "/log/"
#: Bytes of a request at most: a batch of labels is far below.
LARGEST = 4 * 2**20
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_READS = ("GET", "HEAD")


class Guard:
    """Around an ASGI application. ``hosts``: what a request may call this server; ``key``: who may write."""

    def __init__(self, app: Application, hosts: frozenset[str], key: str) -> None:
        self._app, self._hosts, self._key = app, hosts, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope) if scope["type"] == "http" else "only HTTP here"
        shared = scope["path"].startswith(LOGS)

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                headers["cross-origin-resource-policy"] = "cross-origin" if shared else "same-origin"
            await send(message)

        if refusal:
            return await JSONResponse({"error": refusal}, 403)(scope, receive, guarded)
        return await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> str:
        """Why a request is refused; empty where it is not."""
        headers, method = Headers(scope=scope), scope["method"]
        host = headers.get("host", "")
        if host not in self._hosts:
            return "this is another server than the one you named; open the address that lwd studio printed"
        if scope["path"].startswith(LOGS):
            return "" if method in (*_READS, "OPTIONS") else "raw logs are only read"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return "another page asks; open the address that lwd studio printed"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and scope["path"] != "/":
            return "another page asks; open the address that lwd studio printed"
        if method in _READS:
            return ""
        if not headers.get("content-type", "").startswith("application/json"):
            return "say it in JSON"
        if not headers.get("content-length", "").isdecimal() or int(headers["content-length"]) > LARGEST:
            return f"more than {LARGEST} bytes, or an unknown number of them"
        if not hmac.compare_digest(headers.get(KEY, "").encode(), self._key.encode()):
            return "reading only: to change something open the link that lwd studio printed when it began"
        return ""
