"""The commands of `lwd robot` for robots from afar: enrol, revoke, list, pause, resume, follow."""

import time
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._output import AsJson, answer, say_document, say_json, say_rows
from lwd_core.errors import UserError, suggest
from lwd_core.policies import keys
from lwd_core.robots.bucket_policy import bucket_policy
from lwd_core.robots.desired import desire
from lwd_core.robots.enrolment import Enrolment, enrolled, folder_of, read_enrolment, require_own_key
from lwd_core.robots.enrolment import enrol as enter
from lwd_core.robots.enrolment import revoke as take_out
from lwd_core.robots.standing import standings
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

COLUMNS = ("robot_id", "site", "group", "state", "channel", "policy_id", "pending", "spool_logs",
           "dropped_logs", "clock_offset_s", "why")  # fmt: skip
Robots = Annotated[list[str] | None, Argument(help="Robots; or give --group or --all.")]
Group = Annotated[str, Option(help="All robots of a group.")]
Everyone = Annotated[bool, Option("--all", help="All robots.")]


def key(
    robot_id: Annotated[str, Argument(help="Who the robot is; one name for life.")],
    anew: Annotated[bool, Option(help="Make another one, which must be enrolled again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make this robot's key, on the robot's own computer, and print the public half for `lwd robot enrol`.

    Example: lwd robot key arm-7 > arm-7.pem
    """
    settings = Settings()
    folder_of(settings, robot_id)
    public = keys.public_pem(keys.make_robot_key(settings.keys, robot_id, anew=anew)).decode()
    say_json({"robot_id": robot_id, "public": public}) if as_json else answer(public, nl=False)


def enrol(
    robot_id: Annotated[str, Argument(help="Who the robot is.")],
    site: Annotated[str, Option(help="Where it stands.")],
    public: Annotated[
        Path | None, Option("--key", help="Its public key; default: that of a robot of this computer.")
    ] = None,
    group: Annotated[str, Option(help="By which several robots are addressed.")] = "",
    as_json: AsJson = False,
) -> None:
    """Enrol a robot: from now on its landing folder takes only what it signed. Again, to change it.

    Example: lwd robot enrol arm-7 --site north --group line-2 --key arm-7.pem
    """
    settings = Settings()
    folder_of(settings, robot_id)
    if public is None:
        own = keys.robot_key(settings.keys, robot_id)
        if own is None:
            raise UserError(
                f"robot {robot_id}: no key here; `lwd robot key {robot_id} > {robot_id}.pem` "
                "on its computer, then give that file with --key"
            )
        pem = keys.public_pem(own)
    else:
        try:
            pem = public.read_bytes()
        except OSError as error:
            raise UserError(f"{public}: {error.strerror}; give what `lwd robot key` printed") from error
    made = Enrolment(robot_id, site, group, pem.decode("ascii", "replace"), time.time_ns())
    require_own_key(settings, made)
    made = enter(settings, made, keys.signing_key(settings.keys))
    let_in = _let_in(settings, robot_id)
    if as_json:
        say_json({"robot_id": made.robot_id, "site": made.site, "group": made.group, "let_in": let_in})
        return
    typer.echo(f"{made.robot_id} is enrolled at {made.site}; copy {settings.keys}/trusted to it")
    if let_in:
        typer.echo(f"{let_in} logs of it that were refused before will be taken in by the next `lwd ingest`")


def revoke(robot_id: Annotated[str, Argument(help="Robot.")], as_json: AsJson = False) -> None:
    """Take in nothing of a robot any more; what it sent before stays.

    Example: lwd robot revoke arm-7
    """
    settings = Settings()
    gone = take_out(settings, robot_id, keys.signing_key(settings.keys), time.time_ns())
    if as_json:
        say_json({"robot_id": gone.robot_id, "revoked_ns": gone.revoked_ns})
    else:
        typer.echo(f"{gone.robot_id} is revoked; take its rights to the store as well")


def list_(as_json: AsJson = False) -> None:
    """List the enrolled robots: online or not, what they run and should run, what waits on their disks.

    Example: lwd robot list
    """
    from lwd_core.reports.fleet_page import channels_now

    settings = Settings()
    rows = [one.row() for one in standings(settings, channels_now(settings), time.time_ns())]
    if not as_json:
        for row in rows:
            row["policy_id"] = str(row["policy_id"] or "")[:8]
    say_rows(rows, COLUMNS, as_json)


def pause(
    robot: Robots = None,
    group: Group = "",
    everyone: Everyone = False,
    why: Annotated[str, Option(help="Said to whoever stands beside it.")] = "by `lwd robot pause`",
    as_json: AsJson = False,
) -> None:
    """Have robots rest after the episode they are in.

    Example: lwd robot pause --group line-2 --why "floor is being cleaned"
    """
    _wish(robot, group, everyone, as_json, paused=True, why=why)


def resume(
    robot: Robots = None, group: Group = "", everyone: Everyone = False, as_json: AsJson = False
) -> None:
    """Have robots go on.

    Example: lwd robot resume --group line-2
    """
    _wish(robot, group, everyone, as_json, paused=False)


def follow(
    channel: Annotated[Channel, Argument(help="Release channel.")],
    robot: Robots = None,
    group: Group = "",
    everyone: Everyone = False,
    as_json: AsJson = False,
) -> None:
    """Have robots follow a release channel; group after group is a staged rollout.

    Example: lwd robot follow canary --group line-2
    """
    _wish(robot, group, everyone, as_json, channel=channel)


def permissions(robot_id: Annotated[str, Argument(help="Robot.")], as_json: AsJson = False) -> None:
    """Print what an enrolled robot may do in the buckets, as an S3 policy.

    Example: lwd robot permissions arm-7 > arm-7-policy.json
    """
    settings = Settings()
    found = read_enrolment(settings, robot_id, keys.trusted_keys(settings.keys))
    if found is None:
        raise UserError(f"robot {robot_id}: not enrolled{suggest(robot_id, enrolled(settings))}")
    say_document(bucket_policy(settings, found), as_json)


def _let_in(settings: Settings, robot_id: str) -> int:
    """How many logs of a robot that were refused would be taken by now."""
    from lwd_core.ingest.admission import admitted
    from lwd_core.lake.store import Lake
    from lwd_core.storage.location import open_location

    there = open_location(settings.lake).exists("tables")
    return len(admitted(Lake.open(settings.lake), settings, robot_id=robot_id)) if there else 0


def _wish(
    robots: list[str] | None,
    group: str,
    everyone: bool,
    as_json: bool,
    *,
    paused: bool | None = None,
    why: str = "",
    channel: Channel | None = None,
) -> None:
    settings = Settings()
    known = {name: one for name, one in enrolled(settings).items() if isinstance(one, Enrolment)}
    if bool(robots) + bool(group) + everyone != 1:
        raise UserError("name robots, or --group, or --all")
    for name in robots or []:
        if name not in known:
            raise UserError(f"robot {name}: not enrolled{suggest(name, known)}; `lwd robot list` has them")
    chosen = robots or [name for name, one in known.items() if everyone or one.group == group]
    if not chosen:
        groups = {one.group for one in known.values() if one.group}
        raise UserError(f"group {group}: no robot in it{suggest(group, groups)}; `lwd robot list` has them")
    signer, now = keys.signing_key(settings.keys), time.time_ns()
    made = [desire(settings, name, signer, now, paused=paused, why=why, channel=channel) for name in chosen]
    rows = [{"robot_id": one.robot_id, "paused": one.paused, "channel": one.channel or ""} for one in made]
    say_rows(rows, tuple(rows[0]), as_json)


def join(app: typer.Typer) -> None:
    """Give an application these commands."""
    for name, command in _COMMANDS.items():
        app.command(name)(command)


_COMMANDS = {
    "key": key,
    "enrol": enrol,
    "revoke": revoke,
    "list": list_,
    "pause": pause,
    "resume": resume,
    "follow": follow,
    "permissions": permissions,
}
