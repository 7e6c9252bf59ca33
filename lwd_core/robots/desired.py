"""What the platform wants of a robot: ``<robots>/<robot id>/desired.json``, signed, with a number that grows.

Robots read it between episodes. Groups that follow one channel after the other are a staged rollout.
"""

import json
from dataclasses import asdict, dataclass, fields, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.policies.keys import trusted_keys
from lwd_core.policies.signed_file import NotSigned, read_signed, write_signed
from lwd_core.robots.enrolment import folder_of
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

FILE = "desired.json"


@dataclass(frozen=True)
class Desired:
    """``channel``: the one to follow, None for its own setting. ``paused``: run no episode, ``why`` says why.
    ``number`` grows with every file, so that an older one that is put back is told."""

    robot_id: str
    number: int = 0
    channel: str | None = None
    paused: bool = False
    why: str = ""


def desire(
    settings: Settings,
    robot_id: str,
    key: Ed25519PrivateKey,
    now_ns: int,
    *,
    paused: bool | None = None,
    why: str = "",
    channel: Channel | None = None,
) -> Desired:
    """Change what is wanted of a robot; what is not given stays as it is.

    Raises UserError where what was wanted can't be believed and it is not said whether the robot rests: it
    might have been made to.
    """
    try:
        before = read_desired(settings, robot_id, trusted_keys(settings.keys))
    except UserError:
        if paused is None:
            raise
        before = Desired(robot_id, _number_of(settings, robot_id))  # damaged: written anew
    made = replace(before, number=max(before.number + 1, now_ns // 10**9))
    if paused is not None:
        made = replace(made, paused=paused, why=why if paused else "")
    if channel is not None:
        made = replace(made, channel=str(channel))
    write_signed(folder_of(settings, robot_id), FILE, "desired", asdict(made), key)
    return made


def _number_of(settings: Settings, robot_id: str) -> int:
    """The number of a file that nobody vouches for: the next one must be higher in any case."""
    try:
        value = json.loads(folder_of(settings, robot_id).read(FILE, most=1 << 16))
        return max(0, min(int(value["desired"]["number"]), 1 << 52))
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return 0


def read_desired(settings: Settings, robot_id: str, trusted: dict[str, Ed25519PublicKey]) -> Desired:
    """What is wanted of a robot; nothing where there is no file. Raises UserError for one to disbelieve."""
    place = folder_of(settings, robot_id)
    try:
        values = read_signed(place, FILE, "desired", trusted)
        if values is None:
            return Desired(robot_id)
        known = {one.name for one in fields(Desired)}
        found = Desired(**{name: value for name, value in values.items() if name in known})
        if found.channel is not None:
            Channel(found.channel)
    except (NotSigned, TypeError, ValueError) as error:
        raise UserError(
            f"{error}; say anew what is wanted (`lwd robot resume`, `lwd robot pause`)"
        ) from error
    if found.robot_id != robot_id:
        raise UserError(f"{place.path(FILE)}: is {found.robot_id}'s; the file was moved, remove it")
    return found
