"""Dagster's webserver, and beside it the platform's own pages: ``python -m pipelines.webserver [OPTION…]``.

Reports and lineage pages lie in a folder or a bucket. A browser that looks at the UI, often through a tunnel,
has neither, so ``/reports/…`` hands them out; assets link there.
"""

from pathlib import PurePosixPath

from dagster_webserver import app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from pipelines.schemas import REPORTS

TYPES = {".html": "text/html", ".json": "application/json", ".png": "image/png"}
#: Pages are made of what robots said: they may draw, and neither run nor ask for anything.
HEADERS = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def show(request: Request) -> Response:
    """One page of the reports."""
    name = request.path_params["path"]
    kind = TYPES.get(PurePosixPath(name).suffix)
    try:
        if kind is None:
            raise FileNotFoundError(name)
        body = open_location(Settings().reports).read(name)
    except (ValueError, FileNotFoundError, IsADirectoryError):
        return PlainTextResponse("no such page", 404)
    return Response(body, media_type=kind, headers=HEADERS)


class Webserver(DagsterWebserver):
    """Dagster's, with the pages before its own catch-all."""

    def build_routes(self) -> list[BaseRoute]:
        """The routes; the first that fits is taken."""
        return [Route(f"{REPORTS}/{{path:path}}", show), *super().build_routes()]


if __name__ == "__main__":
    # its command line offers no other way in
    app.DagsterWebserver = Webserver  # type: ignore[reportPrivateImportUsage]
    main()
