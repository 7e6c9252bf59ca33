"""The server: openpi's websocket protocol, and two pages over HTTP that say how it is.

A connection is first sent what is served (a map: policy, cameras, widths, limits, latency), then each message
of the robot is an observation and is answered by a chunk of actions; a text in an answer's place is what was
wrong. One connection asks one thing at a time, so what a server holds is bounded by their number.
"""

import asyncio
import json
import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded, PolicySource
from lwd_core.serve.access import Access
from lwd_core.serve.answering import Answering
from lwd_core.serve.figures import Served
from lwd_core.serve.messages import BadMessage, pack
from lwd_core.serve.newest import EVERY_S, Newest, NothingToRun
from lwd_core.serve.session import Session, robot_name
from lwd_core.serve.turns import Turns
from storage_schemas.vocabulary import Channel

#: Open sockets beyond those of robots: handshakes under way and pages being read.
_SPARE = 16
#: Seconds between two looks at whether to stop, and given to answers under way before connections are closed.
_TICK_S, _DRAIN_S = 0.1, 10.0
_GOING_AWAY, _TOO_BIG = 1001, 1009
_SILENT = logging.getLogger("lwd.serve.websockets")  # strangers' failed handshakes fill no log
_SILENT.setLevel(logging.CRITICAL + 1)
_SILENT.propagate = False


@dataclass(frozen=True)
class ServeConfig:
    """How it serves.

    ``port`` 0 is a free one. ``robots`` connections at most, and so many in a batch; a request waits
    ``wait_s`` for others. ``message_bytes`` a message at most. ``pause_s``: see `session`. ``seed`` of all
    noise: by it the same requests of a robot get the same answers, whoever else asks, but for rounding.
    """

    access: Access = field(default_factory=Access)
    port: int = 8000
    channel: Channel = Channel.PRODUCTION
    robots: int = 32
    wait_s: float = 0.005
    message_bytes: int = 8 * 2**20
    pause_s: float = 30.0
    seed: int = field(default_factory=lambda: secrets.randbits(32))
    look_every_s: float = EVERY_S


@dataclass(frozen=True)
class Listening:
    """Where a server listens: ``url`` for robots, ``page`` for people and monitors."""

    url: str
    page: str


def serve_policies(
    source: PolicySource,
    config: ServeConfig,
    *,
    stop: threading.Event,
    ready: Callable[[Listening], None],
    say: Callable[[str], None],
) -> Served:
    """Serve until ``stop`` is set, answer what is under way, and return what was done.

    ``ready`` is told where, once it answers; ``say`` what a log should hold, never what robots sent but its
    faults. Raises `UserError` where it can't listen.
    """
    return asyncio.run(PolicyServer(source, config, say).serve(stop, ready))


class PolicyServer:
    """One server, for one call of `serve`."""

    def __init__(self, source: PolicySource, config: ServeConfig, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say
        self._newest = Newest(source, config.channel, say)
        self._tally = Served()
        self._sessions: dict[ServerConnection, Session] = {}
        self._sockets = 0
        self._draining = False
        self._began = time.monotonic()
        self._reading = ThreadPoolExecutor(1, "lwd-serve-read")  # loads releases, learns words
        self._acting = ThreadPoolExecutor(1, "lwd-serve-act")

    async def serve(self, stop: threading.Event, ready: Callable[[Listening], None]) -> Served:
        """See `serve_policies`."""
        config, loop = self._config, asyncio.get_running_loop()
        turns = Turns(
            self._acting,
            self._tally,
            most=config.robots,
            wait_s=config.wait_s,
            expected=lambda: len(self._sessions),
        )
        self._answering = Answering(
            self._newest,
            turns,
            self._tally,
            self._reading,
            self._say,
            pause_s=config.pause_s,
            seed=config.seed,
        )
        await loop.run_in_executor(self._reading, self._newest.look)
        try:
            server = await serve(
                self._robot,
                config.access.host,
                config.port,
                ssl=config.access.tls,
                origins=[None],
                process_request=self._door,
                create_connection=cast("type[ServerConnection]", partial(_Counted, counting=self._count)),
                compression=None,  # a small message that becomes a large one
                max_size=config.message_bytes,
                max_queue=1,
                ping_timeout=60,
                close_timeout=5,
                server_header=None,
                logger=_SILENT,
            )
        except OSError as error:
            self._acting.shutdown()
            self._reading.shutdown()
            raise UserError(
                f"{config.access.host} port {config.port}: can't listen there ({error.strerror or error}); "
                "choose others by --host and --port"
            ) from error
        working = [
            asyncio.create_task(turns.run()),
            asyncio.create_task(self._newest.run(self._reading, config.look_every_s)),
        ]
        try:
            ready(self._where(server))
            while not stop.is_set():
                for task in working:
                    if task.done():  # a fault of ours: end loudly rather than keep robots waiting
                        task.result()
                await asyncio.sleep(_TICK_S)
            await self._drain()
        finally:
            self._draining = True
            for task in working:
                task.cancel()
            server.close()
            await server.wait_closed()
            self._acting.shutdown()
            self._reading.shutdown()
        return self._tally

    async def _drain(self) -> None:
        """Robots that wait get their answer; everybody is told that the server goes."""
        self._draining = True
        end = time.monotonic() + _DRAIN_S
        idle = [c.close(_GOING_AWAY, "the server stops") for c, s in self._sessions.items() if not s.busy]
        await asyncio.gather(*idle)
        while self._sessions and time.monotonic() < end:
            await asyncio.sleep(_TICK_S / 2)

    async def _robot(self, connection: ServerConnection) -> None:
        """One connection, from the first message to the last."""
        assert connection.request is not None
        self._tally.connections += 1
        own = parse_qs(urlsplit(connection.request.path).query).get("robot")
        session = Session(own[0] if own else f"#{self._tally.connections}")
        self._sessions[connection] = session
        try:
            limits = {"message_bytes": self._config.message_bytes, "robots": self._config.robots}
            await connection.send(pack(self._answering.about() | {"limits": limits}))
            async for message in connection:
                session.busy = True
                await connection.send(await self._answered(session, message))
                session.busy = False
                if self._draining:
                    await connection.close(_GOING_AWAY, "the server stops")
        except ConnectionClosed as end:  # a robot that is switched off says nothing
            if end.sent is not None and end.sent.code == _TOO_BIG:
                self._refuse(
                    session, BadMessage(f"message: {end.sent.reason}; --message-mb allows larger ones")
                )
        finally:
            del self._sessions[connection]

    async def _answered(self, session: Session, message: str | bytes) -> str | bytes:
        """An answer: bytes, or the text of what is wrong, whatever it is."""
        begin = time.perf_counter()
        try:
            answer = await self._answering.answer(session, message)
        except UserError as problem:
            self._refuse(session, problem)
            return str(problem)
        except Exception as fault:  # of ours; the robot and the others go on
            self._say("".join(traceback.format_exception(fault)))
            return "the server failed at this message; its log says how"
        self._tally.answers += 1
        self._tally.latency.add(time.perf_counter() - begin)
        return answer

    def _refuse(self, session: Session, problem: UserError) -> None:
        self._tally.refused += 1
        if not session.complained:  # one line a connection: a robot asks ten times a second
            session.complained = True
            self._say(f"robot {session.name}: {problem}")

    def _count(self, by: int) -> bool:
        """A socket more or less; whether it may stay."""
        self._sockets += by
        return self._sockets <= self._config.robots + _SPARE

    def _door(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Pages are answered here, robots let in or told why not."""
        where = urlsplit(request.path)
        if where.path == "/healthz":  # says nothing that a stranger may not know
            status, text = self._health()
            return connection.respond(status, text)
        refused = self._config.access.refusal(_single(request.headers))
        if refused is None and where.path == "/status":
            response = connection.respond(HTTPStatus.OK, json.dumps(self.status()) + "\n")
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        refused = refused or self._full(where.path, where.query)
        if refused is None:
            return None
        self._tally.turned_away += 1
        return connection.respond(HTTPStatus(refused[0]), refused[1])

    def _full(self, path: str, asked: str) -> tuple[int, str] | None:
        if path != "/":
            return 404, "robots connect to /, pages are /healthz and /status\n"
        if self._draining:
            return 503, "the server stops\n"
        if len(self._sessions) >= self._config.robots:
            return 503, f"{self._config.robots} robots are here, which is all this server takes (--robots)\n"
        try:
            for name in parse_qs(asked, keep_blank_values=True).get("robot", ()):
                robot_name(name)
        except UserError as problem:
            return 400, f"{problem}\n"
        return None

    def _health(self) -> tuple[HTTPStatus, str]:
        if self._draining:
            return HTTPStatus.SERVICE_UNAVAILABLE, "the server stops\n"
        try:
            self._newest.take()
        except NothingToRun:
            return HTTPStatus.SERVICE_UNAVAILABLE, "no policy to run\n"
        return HTTPStatus.OK, "OK\n"

    def status(self) -> dict[str, object]:
        """What a monitor reads: policy, robots, counts, waits."""
        now = time.monotonic()
        try:
            loaded: Loaded | None = self._newest.take()
        except NothingToRun:
            loaded = None
        state = "draining" if self._draining else "serving" if loaded else "no policy"
        robots = [
            {
                "robot": session.name,
                "episode": session.episode,
                "policy_id": session.loaded.policy.policy_id if session.loaded else None,
                "silent_s": round(now - session.last, 1) if session.episode else None,
            }
            for session in self._sessions.values()
        ]
        return {
            "state": state,
            "channel": str(self._config.channel),
            "policy_id": loaded.policy.policy_id if loaded else None,
            "release_id": loaded.release_id if loaded else None,
            "up_s": round(now - self._began, 1),
            "robots": robots,
            **self._tally.facts(),
        }

    def _where(self, server: Server) -> Listening:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        secure = "s" if self._config.access.tls else ""
        return Listening(f"ws{secure}://{shown}:{port}", f"http{secure}://{shown}:{port}/status")


class _Counted(ServerConnection):
    """A connection that is counted from its first byte on: there are never more than may be."""

    def __init__(self, *given: object, counting: Callable[[int], bool], **more: object) -> None:
        super().__init__(*given, **more)  # pyright: ignore[reportArgumentType]
        self._counting = counting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if not self._counting(1):
            cast("asyncio.Transport", transport).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._counting(-1)
        super().connection_lost(exc)


def _single(headers: Headers) -> dict[str, str]:
    """Headers by the names that are asked for; one that is there twice is as good as a wrong one."""
    found: dict[str, str] = {}
    for name in ("Origin", "Authorization", "Host"):
        try:
            value = headers.get(name)
        except MultipleValuesError:
            value = ""
        if value is not None:
            found[name] = value
    return found
