"""What a named person changes: labels, saved views; and the viewer they open beside the page."""

import json
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lwd_core.errors import UserError
from lwd_core.labels.people import PersonLabel
from lwd_core.studio.desk import Desk
from lwd_core.studio.label_outbox import LabelOutbox, said
from lwd_core.studio.rerun_window import RerunWindow
from lwd_core.studio.routes import answer, plain
from lwd_core.studio.saved_views import SavedViews

_NOBODY = "reading only: start `lwd studio --by NAME` to change something"


class Writing:
    """``outbox`` is None where nobody is named: then nothing is changed."""

    def __init__(self, desk: Desk, by: str, views: SavedViews, outbox: LabelOutbox | None) -> None:
        self._desk, self._by, self._views, self._outbox = desk, by, views, outbox
        self.window = RerunWindow(desk)

    def routes(self) -> list[Route]:
        """Addresses and what answers. The guard has asked for the key."""
        return [
            Route("/api/views", plain(self.views)),
            Route("/api/views", self.save, methods=["POST"]),
            Route("/api/views/{name}", plain(self.drop), methods=["DELETE"]),
            Route("/api/labels", self.labels, methods=["POST"]),
            Route("/api/episode/{episode}/rerun", self.rerun, methods=["POST"]),
        ]

    def views(self, request: Request) -> Response:
        """The saved views; they are shared."""
        return answer(self._views.all())

    async def save(self, request: Request) -> Response:
        """Save one."""

        def done(told: Any) -> Response:
            self._named()
            name, query = told.get("name"), told.get("query", "")
            if not (isinstance(name, str) and isinstance(query, str)):
                raise UserError("saved view: name and query are texts")
            self._views.save(name, query, self._by)
            return answer(self._views.all())

        return await _with_body(request, done)

    def drop(self, request: Request) -> Response:
        """Forget one."""
        self._named()
        self._views.drop(request.path_params["name"])
        return answer(self._views.all())

    async def labels(self, request: Request) -> Response:
        """Keep labels. They are on disk when this answers; those that are none are named in ``refused``.
        With ``commit`` they go into the lake at once."""

        def done(told: Any) -> Response:
            outbox, given = self._named(), told.get("labels")
            if not isinstance(given, list):
                raise UserError("labels: a list of labels is missing")
            kept: list[PersonLabel] = []
            refused: list[str] = []
            for one in cast("list[object]", given):
                try:
                    kept.append(said(cast("dict[str, Any]", one) if isinstance(one, dict) else {}, self._by))
                except UserError as error:
                    refused.append(str(error))
            outbox.put(kept)
            if told.get("commit") is True:
                outbox.commit()
            return answer({"kept": len(kept), "refused": refused})

        return await _with_body(request, done)

    async def rerun(self, request: Request) -> Response:
        """Open Rerun at a step of an episode; the address."""
        episode = request.path_params["episode"]

        def done(told: Any) -> Response:
            step = told.get("step", 0)
            if type(step) is not int or step < 0:
                raise UserError("step: a whole number from 0 on")
            return answer({"url": self.window.show(episode, step)})

        return await _with_body(request, done)

    def _named(self) -> LabelOutbox:
        if self._outbox is None:
            raise UserError(_NOBODY)
        return self._outbox


async def _with_body(request: Request, done: Any) -> Response:
    """What a handler makes of the body, away from the loop that answers everybody else."""
    body = await request.body()

    def handled(_request: Request) -> Response:
        try:
            told = json.loads(body)
            json.dumps(told, ensure_ascii=False).encode()  # half a character is in no text that can be kept
        except (ValueError, RecursionError):
            raise UserError("the request is no JSON") from None
        if not isinstance(told, dict):
            raise UserError("the request is no JSON object")
        return done(told)

    return await run_in_threadpool(plain(handled), request)
