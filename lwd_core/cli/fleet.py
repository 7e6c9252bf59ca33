"""Robots: demonstrate, run on a release channel, judge a policy."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import click
import pyarrow as pa
import typer
from rich.console import Console

from lwd_core.cli._delivered import landed_line, say_delivered
from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.errors import UserError
from lwd_core.fleet.task import find_tasks, kept
from lwd_core.fleet.workcells import DEFAULT, Workcells
from lwd_core.interrupt import graceful_stop
from lwd_core.policies.scenes import Purpose, scene_seeds, seed_range
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source, Words

if TYPE_CHECKING:
    from lwd_core.fleet.config import FleetConfig

app = typer.Typer(no_args_is_help=True, help=__doc__)
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="Task; repeat for more. Default: all short ones.")
]
Robot = Annotated[
    str, typer.Option(help="Type of robot: metaworld, sawyer-eyes, one that a package adds, or module:Class.")
]
Robots = Annotated[int, typer.Option(help="Number of robots.", min=1)]
Sites = Annotated[str, typer.Option(help="Sites they stand at, by commas.")]
Cameras = Annotated[int, typer.Option(help="How many of them are photographed at a rate.", min=0)]
CameraHz = Annotated[
    float,
    typer.Option(  # pyright: ignore[reportUnknownMemberType]
        help="That rate; policies that see add their plans.", min=0
    ),
]
CameraSize = Annotated[
    int,
    typer.Option(  # pyright: ignore[reportUnknownMemberType]
        help="Pixels a side of pictures; 0: as the cameras give them.", min=0, max=4096
    ),
]

Said = Annotated[
    Words,
    typer.Option(
        "--words", help="How robots are told: the usual way, any that people train with, or one kept unseen."
    ),
]


@app.command()
def tasks(robot: Robot = DEFAULT, as_json: AsJson = False) -> None:
    """List the tasks robots can be given.

    Example: lwd fleet tasks
    """
    rows = [
        {
            "task": task.name,
            "limit": task.limit,
            "stages": len(task.stages) or 1,
            "instruction": task.instruction,
        }
        for task in Workcells(robot).tasks.values()
    ]
    say_rows(rows, tuple(rows[0]), as_json)


@app.command()
def demonstrate(
    per_task: Annotated[int, typer.Option(help="Demonstrations of each task.", min=1)] = 2,
    task: Tasks = None,
    robot: Robot = DEFAULT,
    robots: Robots = 16,
    sites: Sites = "north,south",
    cameras: Cameras = 2,
    camera_hz: CameraHz = 5.0,
    camera_size: CameraSize = 0,
    words: Said = Words.USUAL,
    day: Annotated[str | None, typer.Option(help="Day (UTC) they carry; default: today.")] = None,
    play: Annotated[bool, typer.Option(help="Explore what goes wrong instead of doing the task.")] = False,
    run: Annotated[str, typer.Option(help="Name; another name gives other scenes.")] = "demonstrations",
    as_json: AsJson = False,
) -> None:
    """Record demonstrations, or play, and upload them to the landing zone.

    Example: lwd fleet demonstrate --per-task 4 --task push --task drawer-tour
    """
    from lwd_core.fleet.actor import demonstration_seeds, opening_ns, run_fleet

    day = day or time.strftime("%Y-%m-%d", time.gmtime())
    opening_ns(day)  # a day that is none is refused before anything runs
    kept(words)
    settings, fleet = Settings(), _fleet(robot, task, robots, sites, cameras, camera_hz, camera_size)
    with Workcells(robot) as cells:
        result = run_fleet(
            settings,
            fleet,
            day=day,
            policy=None,
            seeds=demonstration_seeds(fleet.tasks, run, per_task, robot=robot, cells=cells),
            source=Source.PLAY if play else Source.DEMONSTRATION,
            words=words,
            cells=cells,
        )
    if as_json:
        counts = {"logs": len(result.logs), "steps": result.steps, "bytes": result.bytes}
        say_json({**counts, "landing": settings.landing})
        return
    typer.echo(f"{len(result.logs)} logs, {result.steps} steps, {result.bytes} bytes in {settings.landing}")


@app.command()
def run(
    task: Tasks = None,
    robot: Robot = DEFAULT,
    robots: Robots = 16,
    sites: Sites = "north,south",
    cameras: Cameras = 2,
    camera_hz: CameraHz = 5.0,
    camera_size: CameraSize = 0,
    words: Said = Words.USUAL,
    episodes: Annotated[
        int | None, typer.Option(help="Episodes a robot; default: until stopped.", min=1)
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long.", min=0)] = None,
    speed: Annotated[float, typer.Option(help="Times life's speed; 0: flat out.", min=0)] = 1.0,
    canary_share: Annotated[
        float, typer.Option(help="Share of robots on the canary channel.", min=0, max=1)
    ] = 0.0,
    canary_site: Annotated[str | None, typer.Option(help="Site whose robots are on canary.")] = None,
    supervision: Annotated[float, typer.Option(help="Share of episodes watched.", min=0, max=1)] = 0.5,
    offline: Annotated[float, typer.Option(help="Share of time a robot is offline.", min=0, max=1)] = 0.0,
    outage_s: Annotated[float, typer.Option(help="Length of an outage, seconds.", min=1)] = 60.0,
    clock_offset_s: Annotated[float, typer.Option(help="Clocks are off by up to this.", min=0)] = 0.0,
    between_s: Annotated[float, typer.Option(help="Seconds to set a scene up again.", min=0)] = 2.0,
    play: Annotated[
        float, typer.Option(help="Share of episodes a person explores what goes wrong.", min=0, max=1)
    ] = 0.0,
    name: Annotated[str | None, typer.Option(help="Name of the run; another name, other scenes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run robots on their release channel until they are done or stopped (Ctrl-C: after this episode).

    Example: lwd fleet run --robots 4 --canary-share 0.25 --minutes 30
    """
    from lwd_core.fleet.channel import ReleasedPolicies
    from lwd_core.fleet.config import on_canary, with_clocks_off
    from lwd_core.fleet.link import Outages
    from lwd_core.fleet.live import Deployment, Told, run_live
    from lwd_core.fleet.supervisor import Supervisor

    settings = Settings()
    fleet = _fleet(robot, task, robots, sites, cameras, camera_hz, camera_size)
    fleet = on_canary(fleet, share=canary_share, site=canary_site)
    fleet = with_clocks_off(fleet, up_to_s=clock_offset_s)
    console = Console(stderr=True)
    seen: Counter[str] = Counter()

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    def complain_once(robot: str, why: str) -> None:
        seen[f"{robot}: {why}"] += 1
        if seen[f"{robot}: {why}"] == 1:
            say(f"{robot}: {why}")

    delivered = run_live(
        settings,
        fleet,
        Deployment(
            run=name or f"live-{time.time_ns()}",
            episodes=episodes,
            speed=speed,
            between_s=between_s,
            words=words,
            play=play,
            outages=Outages(offline, outage_s),
            supervisor=Supervisor(rate=supervision),
        ),
        ReleasedPolicies(settings, lambda why: complain_once("refused", why)),
        stop=_stop_after(minutes),
        told=Told(
            landed=lambda robot, log, ran: say(landed_line(robot, log, ran)),
            waiting=lambda robot, why: complain_once(robot.robot_id, why),
        ),
    )
    say_delivered(delivered, settings.landing, as_json)


@app.command()
def evaluate(
    policy: Annotated[str, typer.Argument(help="Policy id, or the beginning of one.")],
    task: Tasks = None,
    robot: Robot = DEFAULT,
    scenes: Annotated[int, typer.Option(help="Scenes a task.", min=1)] = 50,
    purpose: Annotated[Purpose, typer.Option(help="Which scenes.")] = Purpose.SELECTION,
    camera_size: CameraSize = 0,
    words: Said = Words.USUAL,
    record: Annotated[
        bool, typer.Option(help="Write the episodes to the evaluations table; with wrong words, not.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Judge a policy in scenes nobody trained on, alone.

    Example: lwd fleet evaluate 3fe1 --scenes 20 --purpose evaluation
    """
    if purpose is Purpose.TRAINING:
        raise UserError("purpose: training scenes judge nothing; use selection or evaluation")
    from lwd_core.fleet.evaluate import evaluate as judge
    from lwd_core.lake.store import Lake
    from lwd_core.policies.inference import Policy
    from lwd_core.policies.keys import trusted_keys
    from lwd_core.policies.registry import address, find

    settings = Settings()
    lake = Lake.open(settings.lake)
    found = Policy.load(address(settings.policies, find(lake, policy)), trusted_keys(settings.keys))
    names = _names(robot, task)
    seeds = scene_seeds(purpose, scenes)
    now = time.time_ns()
    rows = judge(found, names, seeds, now_ns=now, robot=robot, camera_size=camera_size, words=words)
    if record and words is not Words.USUAL:  # the gate compares policies that were told in one way
        typer.echo(f"told in {words} words: not recorded among evaluations", err=True)
    elif record:
        others = lake.read(
            "evaluations",
            where="policy_id = ? AND list_contains(?, task) AND NOT (seed >= ? AND seed < ?)",
            params=(found.policy_id, names, *seed_range(purpose)),
        )
        both = pa.concat_tables([rows, others.cast(rows.schema)])
        lake.replace("evaluations", both, {"policy_id": [found.policy_id], "task": names})
    said: list[dict[str, object]] = []
    for name in names:
        own = [row for row in rows.to_pylist() if row["task"] == name]
        steps = sorted(row["steps"] for row in own if row["success"])
        said.append(
            {
                "task": name,
                "success": len(steps) / len(own),
                "episodes": len(own),
                "median_steps_of_successes": steps[len(steps) // 2] if steps else None,
            }
        )
    say_rows(said, tuple(said[0]), as_json)


@app.command()
def page(as_json: AsJson = False) -> None:
    """Write the fleet's page: robots, policies in use, rates over time, values that fell, films.

    Example: lwd fleet page
    """
    from lwd_core.lake.store import Lake
    from lwd_core.reports.fleet_page import write_fleet_page

    settings = Settings()
    written = write_fleet_page(Lake.open(settings.lake), settings, settings.reports, now_ns=time.time_ns())
    if as_json:
        say_json({"page": written})
    else:
        typer.echo(written)


def _names(robot: str, chosen: list[str] | None) -> list[str]:
    known = Workcells(robot).tasks
    short = [task.name for task in known.values() if not task.stages]
    return [task.name for task in find_tasks(known, chosen or short)]


def _fleet(
    robot: str,
    chosen: list[str] | None,
    robots: int,
    sites: str,
    cameras: int,
    camera_hz: float,
    camera_size: int,
) -> "FleetConfig":
    from lwd_core.fleet.config import sample_fleet

    names = [site.strip() for site in sites.split(",") if site.strip()]
    if not names:
        raise UserError("--sites: name at least one site")
    return sample_fleet(
        _names(robot, chosen),
        robots=robots,
        sites=names,
        cameras=cameras,
        camera_hz=camera_hz,
        camera_size=camera_size,
        robot=robot,
    )


def _stop_after(minutes: float | None) -> Callable[[], bool]:
    """True once the time is up, or the first Ctrl-C or SIGTERM of this command has come."""
    stop = threading.Event()
    click.get_current_context().with_resource(graceful_stop(stop))
    end = time.monotonic() + minutes * 60 if minutes is not None else float("inf")
    return lambda: stop.is_set() or time.monotonic() >= end
