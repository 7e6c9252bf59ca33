"""An assessment as files: one HTML page with its figures inside, and JSON."""

from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, select_autoescape

from lwd_core.assessment.assess import Assessment
from lwd_core.assessment.figures import all_figures
from lwd_core.reports.findings import ASSESSMENT
from lwd_core.reports.page import data_uri
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json

PAGE = "assessment.html"


def save(found: Assessment, *, now_ns: int) -> str:
    """Write page and JSON into the run's folder, where reports find them, each whole or not at all; return
    where the page lies."""
    folder = open_location(found.checkpoint.rstrip("/").rpartition("/")[0])
    with folder.write(ASSESSMENT) as file:
        file.write(canonical_json(found.as_json()))
    with folder.write(PAGE) as file:
        file.write(render(found, now_ns=now_ns).encode())
    return folder.path(PAGE)


def render(found: Assessment, *, now_ns: int) -> str:
    """The page as text; it loads nothing from anywhere."""
    template = (resources.files("lwd_core.reports") / "templates" / "assessment.html").read_text()
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(template).render(
        made=datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        found=found,
        tasks=list(next(iter(found.ranks.values()), {})),
        figures=[(caption, data_uri(image)) for caption, image in all_figures(found).items()],
    )
