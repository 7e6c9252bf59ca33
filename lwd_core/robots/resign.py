"""Sign anew what an older key said of robots, so that the older key can go out of trust.

There is no table of robots to hold a file against: whoever held the older key could have enrolled one, so
each is named, for a person to look at.
"""

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.policies.keys import sign
from lwd_core.policies.resign import Resigned
from lwd_core.policies.signed_file import read_signed, write_signed
from lwd_core.robots import desired, enrolment
from lwd_core.settings import Settings

_FILES = (("enrolment", enrolment.FILE), ("desired", desired.FILE))


def resign_robots(
    settings: Settings, key: Ed25519PrivateKey, trusted: dict[str, Ed25519PublicKey]
) -> Resigned:
    """Sign each robot's enrolment, and what is wanted of it, with ``key``; what it says stays as it is.

    What ``key`` signed already is left, so calling again changes nothing; so is, with the reason, what does
    not verify with ``trusted``.
    """
    mine = sign(b"", key).key_id
    done: list[str] = []
    left: list[str] = []
    for robot_id in enrolment.enrolled(settings):
        place = enrolment.folder_of(settings, robot_id)
        for what, name in _FILES:
            try:
                values = read_signed(place, name, what, trusted)
            except (UserError, PermissionError, IsADirectoryError) as problem:
                left.append(str(problem))
                continue
            if values is None or json.loads(place.read(name))["signature"]["key_id"] == mine:
                continue
            write_signed(place, name, what, values, key)
            done.append(f"robot {robot_id}: {name}")
    return Resigned(done, left)
