"""One robot in real time: drive it, look at it. Robots from afar: enrol, list, pause, have them follow."""
# typer's Option is a type that it does not say whole
# pyright: reportUnknownMemberType=false

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from rich.console import Console

from lwd_core.cli import _enrolled
from lwd_core.cli._delivered import landed_line, say_delivered
from lwd_core.cli._output import AsJson, say_rows
from lwd_core.errors import UserError
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.task import Task
from lwd_core.fleet.workcells import is_simulated
from lwd_core.interrupt import graceful_stop
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel, Source, Words

if TYPE_CHECKING:
    from lwd_core.fleet.channel import PolicySource
    from lwd_core.fleet.pace import Timekeeper
    from lwd_core.fleet.robot import Observed
    from lwd_core.fleet.stand import Stand

app = typer.Typer(no_args_is_help=True, help=__doc__)
_enrolled.join(app)
Named = Annotated[
    str, typer.Option("--robot", help="module:Class, one that a package adds, or a simulated one.")
]
Given = Annotated[
    list[str] | None,
    typer.Option("--set", help="name=value for the robot's class, YAML; repeat for more."),
]
EmbodimentFile = Annotated[
    str, typer.Option("--embodiment", help="Its embodiment file, or the name of an installed one.")
]


@app.command()
def run(
    robot: Named,
    given: Given = None,
    embodiment: EmbodimentFile = "",
    robot_id: Annotated[str, typer.Option("--id", help="Who it is; one name for life.")] = "robot-1",
    site: Annotated[str, typer.Option(help="Where it stands.")] = "lab",
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Task; repeat for more. Default: all it can do.")
    ] = None,
    instruction: Annotated[
        str, typer.Option(help="How a task is said that the robot's class does not know.")
    ] = "",
    limit_s: Annotated[float, typer.Option(help="Its length at most, seconds.", min=0.1)] = 60.0,
    policy: Annotated[
        str,
        typer.Option(help="channel: the newest of its channel; none: a person drives; or a bundle's folder."),
    ] = "channel",
    channel: Annotated[Channel, typer.Option(help="Its release channel.")] = Channel.PRODUCTION,
    controls: Annotated[
        list[str] | None,
        typer.Option(
            "--controls",
            help="What a person drives and says by: keys (default at a terminal), none, one that a package "
            "adds, module:Class; repeat for more. expert: a simulated robot's scripted person.",
        ),
    ] = None,
    controls_set: Annotated[
        list[str] | None, typer.Option(help="name=value for the first device's class, YAML.")
    ] = None,
    referee: Annotated[str, typer.Option(help="Tells how an episode went: installed, or module:Class.")] = "",
    operator: Annotated[str, typer.Option(help="The person at the controls.")] = "operator-1",
    episodes: Annotated[int | None, typer.Option(help="Stop after so many; default: go on.", min=1)] = None,
    words: Annotated[Words, typer.Option(help="How it is told.")] = Words.USUAL,
    late: Annotated[
        str, typer.Option(help="While a plan is awaited: hold, slow, continue, blend (docs/your-robot.md).")
    ] = "hold",
    ahead: Annotated[
        int | None,
        typer.Option(help="Ask for the next plan so many ticks early; default: as measured.", min=0),
    ] = None,
    stale_ms: Annotated[float, typer.Option(help="Age of a state at which it stops.")] = 250.0,
    lost_ms: Annotated[float, typer.Option(help="Age of a needed picture at which it stops.")] = 1000.0,
    watchdog_ms: Annotated[float, typer.Option(help="Length of a tick at which it stops.")] = 1000.0,
    camera_hz: Annotated[float, typer.Option(help="Simulated robots: pictures a second.", min=0)] = 0.0,
    camera_size: Annotated[int, typer.Option(help="Simulated robots: pixels a side.", min=0, max=4096)] = 0,
    flat_out: Annotated[bool, typer.Option("--flat-out", help="Simulated robots: wait for nothing.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the run; another name, other scenes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Drive one robot, episode after episode, and upload what it records. Ctrl-C stops it safely, at once.

    Example: lwd robot run --robot my_pkg:MyArm --task reach --policy none --episodes 10
    """
    from lwd_core.fleet.keyboard import HELP
    from lwd_core.fleet.live import Told
    from lwd_core.fleet.pace import LeapTime, WallTime
    from lwd_core.fleet.planner import PromptPlanner
    from lwd_core.fleet.rig import ControlRules
    from lwd_core.fleet.station import Rounds, Work, chosen_tasks, run_robot

    settings, console = Settings(), Console(stderr=True)

    told: list[str] = []

    def tell(text: str) -> None:
        told[:] = [text]
        console.print(text, markup=False, soft_wrap=True)

    def tell_news(text: str) -> None:
        if told != [text]:
            tell(text)

    rules = ControlRules(late, ahead, stale_ms=stale_ms, lost_ms=lost_ms, watchdog_ms=watchdog_ms)
    if flat_out and not is_simulated(robot):
        raise UserError("--flat-out: time is for a simulated robot to leap; leave it out")
    if flat_out:  # no tick of a time that leaps takes too long
        rules = replace(rules, watchdog_ms=float("inf"))
    wall = WallTime()
    keeper = LeapTime(time.time_ns()) if flat_out else wall

    def idle(duration: int) -> None:  # whom a robot waits for lives by the wall's time
        wall.sleep_ns(duration)
        if keeper is not wall:
            keeper.sleep_ns(duration)

    names = _devices(controls)
    stand = _stand(
        settings,
        robot,
        _values(given, "--set"),
        embodiment,
        keeper,
        names,
        _values(controls_set, "--controls-set"),
        (task or [], instruction, limit_s),
        referee,
        operator,
        (camera_hz, camera_size),
    )
    driven = policy == "none"
    source = Source.DEMONSTRATION if driven else Source.ONLINE if policy == "channel" else Source.ROLLOUT
    queue = Rounds(
        chosen_tasks(stand, task or []),
        f"{name or f'robot-{time.time_ns()}'}/{robot_id}",
        source,
        episodes=episodes,
        words=words,
    )
    policies = None if driven else _policies(settings, policy, tell_news)
    stop = threading.Event()
    click.get_current_context().with_resource(graceful_stop(stop))
    if "keys" in names:
        tell(HELP)
    delivered = run_robot(
        settings,
        stand,
        RobotSpec(robot_id, site, channel=channel),
        queue,
        policies,
        Work(
            rules,
            told=Told(
                landed=lambda spec, log, ran: tell(landed_line(spec, log, ran)),
                waiting=lambda spec, why: tell_news(why),
            ),
            say=tell,
            stop=stop.is_set,
            keeper=keeper,
            planner=PromptPlanner if flat_out else None,
            idle=idle,
        ),
    )
    say_delivered(delivered, settings.landing, as_json)


@app.command()
def check(
    robot: Named,
    given: Given = None,
    embodiment: EmbodimentFile = "",
    seconds: Annotated[float, typer.Option(help="For how long.", min=0.1)] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Connect a robot and watch it without moving it: rates, ages, cameras, and whether its file fits.

    Example: lwd robot check --robot my_pkg:MyArm --set port=/dev/ttyACM0
    """
    from lwd_core.fleet.pace import Pace, WallTime

    if is_simulated(robot):
        raise UserError(
            f"robot {robot}: it is simulated, there is nothing to look at; `lwd robot run` drives it"
        )
    keeper = WallTime()
    stand = _stand(Settings(), robot, _values(given, "--set"), embodiment, keeper)
    seen: list[tuple[int, Observed]] = []
    try:
        stand.connect()
        (rig, pace) = stand.at(Task("check", 1, ("",))), Pace(stand.embodiment.control_hz, keeper)
        end = keeper.monotonic_ns() + round(seconds * 1e9)
        while keeper.monotonic_ns() < end:
            pace.wait()
            observed = rig.robot.observe()
            seen.append((keeper.now_ns(), observed))
    finally:
        stand.close()
    rows = _looked(seen, stand, seconds)
    say_rows(rows, tuple(rows[0]), as_json)
    if any(row["wrong"] for row in rows):
        raise typer.Exit(1)


def _looked(seen: "list[tuple[int, Observed]]", stand: "Stand", seconds: float) -> list[dict[str, object]]:
    """What was seen of the state and of each camera: how often new, how old at most, what is wrong."""
    dims = len(stand.embodiment.state_dims)
    widths = {observed.state.shape for _, observed in seen}
    stamps = {observed.t_ns for _, observed in seen}
    age = max(now - observed.t_ns for now, observed in seen) / 1e6
    wrong = "" if widths == {(dims,)} else f"{dims} dims in the file, {sorted(widths)} here"
    rows: list[dict[str, object]] = [
        {"what": "state", "hz": round(len(stamps) / seconds, 1), "age_ms": round(age, 1), "wrong": wrong}
    ]
    named = {camera.name for camera in stand.embodiment.cameras}
    for camera in sorted(named | {name for _, observed in seen for name in observed.pictures}):
        taken = [(now, o.pictures[camera].t_ns) for now, o in seen if camera in o.pictures]
        rows.append(
            {
                "what": camera,
                "hz": round(len({t for _, t in taken}) / seconds, 1),
                "age_ms": round(max((now - t for now, t in taken), default=0) / 1e6, 1),
                "wrong": "shows nothing" if not taken else "" if camera in named else "not in the file",
            }
        )
    return rows


def _stand(
    settings: Settings,
    robot: str,
    given: Mapping[str, Any],
    embodiment: str,
    keeper: "Timekeeper",
    names: list[str] | None = None,
    controls_given: Mapping[str, Any] | None = None,
    asked: tuple[list[str], str, float] = ([], "", 60.0),
    referee: str = "",
    operator: str = "",
    cameras: tuple[float, int] = (0.0, 0),
) -> "Stand":
    from lwd_core.fleet.devices import made_controls
    from lwd_core.fleet.lifelike import EXPERT, SimulatedStand
    from lwd_core.fleet.stand import RealStand

    wanted = [name for name in names or [] if name != EXPERT]
    if is_simulated(robot):
        if given or embodiment or referee:
            raise UserError(f"robot {robot}: it is simulated; leave out --set, --embodiment and --referee")
        stand = SimulatedStand(
            robot,
            keeper,
            expert=EXPERT in (names or []),
            camera_hz=cameras[0],
            camera_size=cameras[1],
            operator=operator,
        )
    else:
        if EXPERT in (names or []):
            raise UserError(f"robot {robot}: only simulated robots come with an expert; name other controls")
        stand = RealStand(settings, robot, given, embodiment=embodiment, referee=referee, operator=operator)
        tasks, instruction, limit_s = asked
        stand.add([_task(t, instruction, limit_s, stand) for t in tasks if t not in stand.tasks])
    stand.sit_down(made_controls(wanted, controls_given or {}, stand.embodiment))
    return stand


def _task(name: str, instruction: str, limit_s: float, stand: "Stand") -> Task:
    if not instruction:
        raise UserError(
            f"task {name}: the robot's class does not know it; say how it is told (`--instruction`), or name "
            f"one of {', '.join(stand.tasks) or 'its own'}"
        )
    return Task(name, max(1, round(limit_s * stand.embodiment.control_hz)), (instruction,))


def _policies(settings: Settings, policy: str, tell: Any) -> "PolicySource":
    from lwd_core.fleet.channel import ReleasedPolicies
    from lwd_core.fleet.station import GivenPolicy

    if policy == "channel":
        return ReleasedPolicies(settings, tell)
    from lwd_core.policies.inference import load_policy

    return GivenPolicy(load_policy(policy, settings.keys))


def _devices(controls: list[str] | None) -> list[str]:
    import sys

    if controls is None:
        return ["keys"] if sys.stdin.isatty() else []
    return [name for name in controls if name != "none"]


def _values(given: list[str] | None, option: str) -> dict[str, Any]:
    """``name=value`` texts as values of YAML."""
    from lwd_core.config_file import parse

    found: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"{option} {text}: write name=value")
        found[name] = parse(f"value: {value}", f"{option} {name}", "a value")["value"]
    return found
