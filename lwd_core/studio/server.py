"""The server: on the loopback address, until it is told to stop."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from lwd_core.errors import UserError
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.studio.desk import Desk
from lwd_core.studio.guard import Application, Guard
from lwd_core.studio.routes import Reading, views
from lwd_core.studio.saved_views import SavedViews

HOST = "127.0.0.1"


def application(desk: Desk, port: int, *, by: str = "", key: str = "") -> Application:
    """The whole of it, guarded. ``by``: the person who labels, with the ``key``; empty: it is only read."""
    place = open_location(desk.settings.home).below("studio")
    routes = [*Reading(desk, by).routes(), *views(SavedViews(place), by)]
    hosts = frozenset(f"{name}:{port}" for name in (HOST, "localhost"))
    return Guard(Starlette(routes=routes), hosts, key)


def serve(settings: Settings, *, port: int, by: str, key: str, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``ready`` gets the address once it answers. ``port`` 0 is a free one."""
    desk = Desk(settings)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port}: can't listen there ({error.strerror}); choose another by --port"
            ) from error
        port = listening.getsockname()[1]
        app = application(desk, port, by=by, key=key)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        _Announced(config, lambda: ready(f"http://{HOST}:{port}/")).run([listening])


class _Announced(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
