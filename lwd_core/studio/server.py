"""The server: on the loopback address, until it is told to stop."""

import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from lwd_core.errors import UserError
from lwd_core.labels.people import NAME
from lwd_core.lake import query
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.studio.desk import Desk
from lwd_core.studio.guard import Application, Guard
from lwd_core.studio.label_outbox import LabelOutbox
from lwd_core.studio.routes import Reading
from lwd_core.studio.saved_views import SavedViews
from lwd_core.studio.writing import Writing

HOST = "127.0.0.1"


def application(desk: Desk, port: int, *, by: str, key: str, closing: ExitStack) -> Application:
    """The whole of it, guarded. ``by``: the person who labels; empty: nobody, it is only read. ``key`` is
    asked of whoever changes something. What ends with the server is left to ``closing``."""
    outbox = None
    if by:
        outbox = LabelOutbox(Lake.open(desk.settings.lake), _here(desk.settings) / "outbox" / by)
        closing.callback(outbox.close)
    views = SavedViews(open_location(desk.settings.home).below("studio"))
    writing = Writing(desk, by, views, outbox)
    closing.callback(writing.window.close)
    hosts = frozenset(f"{name}:{port}" for name in (HOST, "localhost"))
    return Guard(Starlette(routes=[*Reading(desk, by, outbox).routes(), *writing.routes()]), hosts, key)


def serve(settings: Settings, *, port: int, by: str, key: str, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``ready`` gets the address once it answers; ``port`` 0 is a free one.

    Raises `UserError` for a name nobody can have, where there is no lake, and where it can't listen.
    """
    if by and not NAME.fullmatch(by):
        raise UserError(f"--by {by!r}: a name is small letters, digits, _ and -, 40 at most")
    desk = Desk(settings)
    with socket.socket() as listening, ExitStack() as closing:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port}: can't listen there ({error.strerror}); choose another by --port"
            ) from error
        port = listening.getsockname()[1]
        looking = threading.Thread(target=_look, args=(desk,))
        looking.start()
        closing.callback(looking.join)
        closing.callback(desk.catalogues.close)
        app = application(desk, port, by=by, key=key, closing=closing)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none"
        )
        _Announced(config, lambda: ready(f"http://{HOST}:{port}/")).run([listening])


def _look(desk: Desk) -> None:
    """Ahead of the first page; what is wrong with the lake is said to whoever asks for one."""
    with suppress(UserError, query.Interrupted):
        desk.newest()
        desk.catalogues.follow()


class _Announced(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _here(settings: Settings) -> Path:
    """A folder of this machine: what a kill must not lose is on its disk first."""
    remote = "://" in settings.home
    return Path(tempfile.gettempdir(), "lwd-studio") if remote else Path(settings.home, "studio")
