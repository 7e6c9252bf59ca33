"""The addresses of the server: thin, each a call of the module that knows."""

import hmac
import json
import math
from collections.abc import Callable, Iterable
from functools import wraps
from importlib import resources
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from lwd_core.errors import UserError
from lwd_core.extras import require
from lwd_core.labels.queues import QUEUES, queue
from lwd_core.studio import curves
from lwd_core.studio.about import about, lineage
from lwd_core.studio.catalogue import Catalogue
from lwd_core.studio.desk import Desk, NotThere
from lwd_core.studio.duel import duel
from lwd_core.studio.filters import EpisodeFilter
from lwd_core.studio.guard import LOGS
from lwd_core.studio.label_outbox import LabelOutbox
from lwd_core.studio.strips import picture

if TYPE_CHECKING:
    from lwd_core.studio.law import Laws

#: Cards of one answer at most, and episodes of a queue.
MOST, QUEUED = 500, 200
_STATIC = resources.files("lwd_core.studio") / "static"
_SHIPPED = {file.name: file for file in _STATIC.iterdir()}
_MEDIA = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_PAGE = ("at", "offset", "limit", "episode")
Handler = Callable[[Request], Response]


def answer(value: object, status: int = 200) -> Response:
    """JSON; numbers that JSON has no word for are null."""
    try:
        text = json.dumps(value, allow_nan=False, default=str, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), default=str, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def plain(handler: Handler) -> Handler:
    """What a person did wrong is a line of JSON."""

    @wraps(handler)
    def told(request: Request) -> Response:
        try:
            return handler(request)
        except NotThere as error:
            return answer({"error": str(error)}, 404)
        except UserError as error:
            return answer({"error": str(error)}, 400)

    return told


class Reading:
    """What is there for everybody who may look."""

    def __init__(self, desk: Desk, by: str, outbox: LabelOutbox | None = None) -> None:
        self._desk, self._by, self._outbox = desk, by, outbox
        self._laws: Laws | None = None

    def routes(self) -> list[Route]:
        """Addresses and what answers."""
        found: dict[str, Handler] = {
            "/": self.page,
            "/static/{name}": self.file,
            "/api/state": self.state,
            "/api/episodes": self.episodes,
            "/api/counts": self.counts,
            "/api/place": self.place,
            "/api/strips": self.strips,
            "/api/strip/{episode}/{number}": self.strip,
            "/api/episode/{episode}": self.episode,
            "/api/episode/{episode}/curves": self.curves,
            "/api/episode/{episode}/lineage": self.lineage,
            "/api/frame/{episode}/{camera}/{number}": self.frame,
            "/api/episode/{episode}/law": self.law,
            "/api/duel": self.duel,
            "/api/queues": self.queues,
            "/api/queue/{name}": self.queue,
        }
        logs = Route(f"{LOGS}{{episode}}/{{token}}/{{name}}", plain(self.log), methods=["GET", "OPTIONS"])
        return [*(Route(path, plain(handler)) for path, handler in found.items()), logs]

    def page(self, request: Request) -> Response:
        """The one page there is."""
        return _shipped("index.html")

    def file(self, request: Request) -> Response:
        """A file of the page."""
        return _shipped(request.path_params["name"])

    def state(self, request: Request) -> Response:
        """Which catalogue is the newest, who is at the desk, and how what they said fares; asked every few
        seconds, so that the lake is followed."""
        self._desk.catalogues.follow()
        found = self._desk.newest()
        told: dict[str, Any] = {"at": found.number, "episodes": found.episodes, "by": self._by}
        if self._outbox is not None:
            names = ("waiting", "trouble", "refused", "last_refused")
            told["outbox"] = {name: getattr(self._outbox, name) for name in names}
        return answer(told)

    def episodes(self, request: Request) -> Response:
        """Cards from ``offset`` on, and how many there are in all."""
        catalogue, wanted = self._asked(request)
        offset, limit = _whole(request, "offset", 0), min(_whole(request, "limit", 60), MOST)
        rows = catalogue.order(wanted)
        cards = catalogue.cards(rows[offset : offset + limit])
        return answer({"at": catalogue.number, "total": len(rows), "offset": offset, "cards": cards})

    def counts(self, request: Request) -> Response:
        """How many pass a filter, by word."""
        catalogue, wanted = self._asked(request)
        return answer({"at": catalogue.number, "counts": catalogue.counts(wanted)})

    def place(self, request: Request) -> Response:
        """Where an episode stands in the order of a filter; null where it doesn't pass."""
        catalogue, wanted = self._asked(request)
        row = catalogue.row(request.query_params.get("episode", ""))
        rows = catalogue.order(wanted)
        found: list[int] = (rows == row).nonzero()[0].tolist() if row is not None else []
        return answer({"at": catalogue.number, "total": len(rows), "place": found[0] if found else None})

    def strips(self, request: Request) -> Response:
        """How many small pictures there are of each of the episodes."""
        ids = [one for one in request.query_params.get("ids", "").split(",") if one][:MOST]
        return answer({one: len(strip) for one, strip in self._desk.strips(ids).items()})

    def strip(self, request: Request) -> Response:
        """One of them."""
        episode, number = request.path_params["episode"], _named(request, "number")
        found = self._desk.strips([episode]).get(episode, ())
        if not 0 <= number < len(found):
            raise NotThere(f"episode {episode}: no picture {number}")
        return _picture(*picture(self._desk.lake.place, found[number], small=True))

    def episode(self, request: Request) -> Response:
        """All that is known of one but its curves and pictures."""
        episode_id = request.path_params["episode"]
        with self._desk.lock:
            catalogue, opened = self._desk.newest(), self._desk.episode(episode_id)
            found = about(catalogue, opened, self._desk.films(episode_id))
        found["values"] = [layer for layer in found["values"][:1] if self._desk.has_run(layer)]
        file = self._desk.log_file(episode_id)
        if file is not None:
            found["log"]["address"] = (
                f"{LOGS}{episode_id}/{self._desk.log_token(episode_id)}/{quote(file.name)}"
            )
        return answer(found)

    def curves(self, request: Request) -> Response:
        """Its curves, packed."""
        with self._desk.lock:
            found = curves.lines(self._desk.episode(request.path_params["episode"]))
        return Response(curves.packed(found), media_type="application/octet-stream")

    def lineage(self, request: Request) -> Response:
        """What rests on it."""
        with self._desk.lock:
            return answer(lineage(self._desk.lake, self._desk.episode(request.path_params["episode"]).id))

    def frame(self, request: Request) -> Response:
        """A frame of one of its cameras, as the robot sent it."""
        films = self._desk.films(request.path_params["episode"])
        camera, number = _named(request, "camera"), _named(request, "number")
        if not (0 <= camera < len(films) and 0 <= number < len(films[camera])):
            raise NotThere(f"no frame {number} of camera {camera}")
        return _picture(*picture(self._desk.lake.place, films[camera].frame(number)))

    def duel(self, request: Request) -> Response:
        """Two policies in the scenes both were tried in."""
        with self._desk.lock:
            return answer(duel(self._desk.lake, *(request.query_params.get(side, "") for side in "ab")))

    def law(self, request: Request) -> Response:
        """The law of V along it, by the critic of a layer."""
        require("torch")
        if self._laws is None:
            from lwd_core.studio.law import Laws  # torch is costly to load

            self._laws = Laws(self._desk.settings)
        with self._desk.lock:
            episode = self._desk.episode(request.path_params["episode"])
            return answer(self._laws.along(episode, request.query_params.get("layer", "")))

    def queues(self, request: Request) -> Response:
        """Queues of episodes to judge, with a line each."""
        return answer(QUEUES)

    def queue(self, request: Request) -> Response:
        """The next of one."""
        name = request.path_params["name"]
        with self._desk.lock:
            rows = queue(self._desk.lake, name, by=self._by, limit=QUEUED).to_pylist()
        shown = [{k: v for k, v in row.items() if k not in ("wait", "start_ns")} for row in rows]
        wait = rows[0]["wait"] if rows else 0
        return answer({"what": QUEUES[name], "wait": wait, "rows": shown})

    def log(self, request: Request) -> Response:
        """A raw log for Foxglove, which runs in a page of its own origin: the address is the permission."""
        episode, token = request.path_params["episode"], request.path_params["token"]
        shared = {
            "access-control-allow-origin": "*",
            "access-control-allow-headers": "range",
            "access-control-expose-headers": "content-length, content-range, accept-ranges",
            "access-control-allow-private-network": "true",
        }
        file = (
            self._desk.log_file(episode)
            if hmac.compare_digest(token.encode(), self._desk.log_token(episode).encode())
            else None
        )
        if file is None:
            raise NotThere("no such log")
        if request.method == "OPTIONS":
            return Response(headers=shared)
        return FileResponse(file, headers=shared, media_type="application/octet-stream")

    def _asked(self, request: Request) -> tuple[Catalogue, EpisodeFilter]:
        number = _whole(request, "at", 0)
        catalogue = self._desk.catalogues.at(number) if number else self._desk.newest()
        return catalogue, EpisodeFilter.parse(_but(request.query_params.multi_items(), _PAGE))


def _shipped(name: str) -> Response:
    kind = _MEDIA.get(name.rpartition(".")[2])
    file = _SHIPPED.get(name)  # a name of the network's is never a path
    if kind is None or file is None:
        raise NotThere(f"{name[:40]}: no such file")
    return Response(file.read_bytes(), media_type=kind)


def _picture(data: bytes, kind: str) -> Response:
    return Response(data, media_type=kind)


def _but(items: Iterable[tuple[str, str]], names: Iterable[str]) -> list[tuple[str, str]]:
    return [item for item in items if item[0] not in names]


def _whole(request: Request, name: str, otherwise: int) -> int:
    return _number(name, request.query_params.get(name, str(otherwise)))


def _named(request: Request, name: str) -> int:
    return _number(name, request.path_params[name])


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise UserError(f"{name}: {text[:40]!r} is no number")
    return int(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in cast("list[Any] | tuple[Any, ...]", value)]
    return value
