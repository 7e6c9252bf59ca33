"""The fleet as a page: one HTML file with figures and films inside."""

from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, select_autoescape

from lwd_core.lake.store import Lake
from lwd_core.policies.channel_file import BadRelease, current
from lwd_core.policies.keys import trusted_keys
from lwd_core.reports.clip import Clip, clips
from lwd_core.reports.fleet import FleetFindings, collect_fleet
from lwd_core.reports.fleet_figures import falls_of_value, interventions_over_time, success_over_time
from lwd_core.reports.page import data_uri, film_uri
from lwd_core.robots.standing import standings
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.vocabulary import Channel

PAGE = "fleet.html"


def write_fleet_page(lake: Lake, settings: Settings, place: str, *, now_ns: int) -> str:
    """Write ``fleet.html`` below ``place``, whole or not at all; return where it lies."""
    folder = open_location(place)

    def write() -> str:
        channels = channels_now(settings)
        enrolled = standings(settings, channels, now_ns)
        found = collect_fleet(lake, channels, now_ns=now_ns, enrolled=enrolled)
        with folder.write(PAGE) as file:
            file.write(render_fleet(found, clips(lake), now_ns=now_ns).encode())
        return folder.path(PAGE)

    return lake.tombstones.steady(write)


def channels_now(settings: Settings) -> dict[str, str]:
    """Policy ids by channel; a channel that is empty or does not verify is left out."""
    held = {}
    for channel in Channel:
        try:
            release = current(settings.releases, channel, trusted_keys(settings.keys))
        except BadRelease:
            continue
        if release is not None:
            held[str(channel)] = release.policy_id
    return held


def render_fleet(found: FleetFindings, films: tuple[Clip, ...], *, now_ns: int) -> str:
    """The page as text; it loads nothing from anywhere."""
    template = (resources.files("lwd_core.reports") / "templates" / "fleet.html").read_text()
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    figures = []
    if found.rates:
        figures = [
            ("Success over time", "Each point is a span of episodes of one task and policy; 95 % intervals. "
             "An episode a person helped with counts as it ended.", success_over_time(found.rates)),
            ("Interventions over time", "Episodes a person took over in, as above.",
             interventions_over_time(found.rates)),
        ]  # fmt: skip
    if found.falls:
        figures.append(
            ("Where value fell", "Of each task the recent episode whose learned value fell furthest "
             "within 20 ticks: where something went wrong, as the critic sees it.",
             falls_of_value(found.falls))
        )  # fmt: skip
    return environment.from_string(template).render(
        made=_time(now_ns),
        found=found,
        figures=[(title, caption, data_uri(image)) for title, caption, image in figures],
        films=[(film, film_uri(film.mp4)) for film in films],
        time=_time,
    )


def _time(t_ns: int) -> str:
    return datetime.fromtimestamp(t_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
