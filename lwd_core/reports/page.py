"""The report as a page: one HTML file with its figures inside, and ``report.json`` beside it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from types import MappingProxyType

from jinja2 import Environment, select_autoescape

from lwd_core.reports.figures import all_figures
from lwd_core.reports.findings import Findings
from lwd_core.reports.watched import ValuedClip
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json

CAPTIONS = {
    "success": "Success of each round's policy on scenes nobody trained on, with 95 % intervals.",
    "values": "What the critic expects along episodes: it rises where an episode is going well.",
    "interventions": "What a person had to do on each fleet day.",
    "losses": "Training losses, rounds one after the other.",
    "looked": "What the newest policy looks at: brighter where its plan changes when a part of the picture "
    "is hidden, and by how much at most, in an action's own numbers.",
}


@dataclass(frozen=True)
class WrittenReport:
    """Where a report lies; the figures again, for other places to show them."""

    html: str
    json: str
    figures: dict[str, bytes]


def write_report(
    place: str,
    findings: Findings,
    *,
    title: str,
    now_ns: int,
    films: Sequence[ValuedClip] = (),
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> WrittenReport:
    """Write ``index.html`` and ``report.json`` below ``place``, each whole or not at all.

    ``films`` show values along episodes; ``more`` are figures by their name among `CAPTIONS`.
    """
    figures = all_figures(findings) | dict(more)
    folder = open_location(place)
    with folder.write("report.json") as file:
        file.write(canonical_json({"title": title, "created_ns": now_ns, **findings.as_json()}))
    with folder.write("index.html") as file:
        file.write(render(findings, figures, films, title=title, now_ns=now_ns).encode())
    return WrittenReport(folder.path("index.html"), folder.path("report.json"), figures)


def render(
    findings: Findings,
    figures: Mapping[str, bytes],
    films: Sequence[ValuedClip] = (),
    *,
    title: str,
    now_ns: int,
) -> str:
    """The page as text; it loads nothing from anywhere."""
    template = (resources.files("lwd_core.reports") / "templates" / "report.html").read_text()
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(template).render(
        title=title,
        made=datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        findings=findings,
        gain=findings.gain(),
        tasks=sorted({t for r in findings.rounds if r.evaluation for t in r.evaluation.tasks}),
        figures=[(CAPTIONS[name], data_uri(image)) for name, image in figures.items()],
        films=[(film, film_uri(film.mp4)) for film in films],
    )


def data_uri(image: bytes) -> str:
    """A PNG as a link that carries it."""
    return "data:image/png;base64," + base64.b64encode(image).decode()


def film_uri(mp4: bytes) -> str:
    """The same of an MP4."""
    return "data:video/mp4;base64," + base64.b64encode(mp4).decode()
