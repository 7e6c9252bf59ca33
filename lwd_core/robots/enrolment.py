"""Who belongs to the fleet: one signed file a robot with its key, ``<robots>/<robot id>/enrolment.json``.

The private key never leaves the robot, which signs what it uploads. What lies in an enrolled robot's landing
folder is taken in only with its signature, and nothing of it any more once it is revoked.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError, suggest
from lwd_core.policies.keys import Signature, key_id, public_key, sign, trusted_keys, verify
from lwd_core.policies.signed_file import NotSigned, read_signed, write_signed
from lwd_core.settings import Settings
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.relative import plain
from storage_schemas.canonical import canonical_json

FILE = "enrolment.json"


@dataclass(frozen=True)
class Enrolment:
    """A robot of the fleet. ``key``: its public key, PEM; ``group``: a word that addresses several."""

    robot_id: str
    site: str
    group: str
    key: str
    enrolled_ns: int
    revoked_ns: int | None = None


def folder_of(settings: Settings, robot_id: str) -> Location:
    """The robot's folder. Raises UserError for an id that names none."""
    if not plain(robot_id):
        raise UserError(f"robot {robot_id!r}: no name for one; use 1 to 80 letters, digits, dots, dashes, _")
    return open_location(settings.robots).below(robot_id)


def enrol(settings: Settings, made: Enrolment, key: Ed25519PrivateKey) -> Enrolment:
    """Enrol a robot, or change its site, group or key; the time it was enrolled at first stays.

    Raises UserError for a key that is none, and for a site that can't be a folder's name in the landing zone.
    That no other robot has the key, `require_own_key` asks.
    """
    if not plain(made.site):
        raise UserError(
            f"site {made.site!r}: no name for one; use 1 to 80 letters, digits, dots, dashes, _, as "
            "the robot's `--site` does"
        )
    public_key(made.key.encode())
    try:
        before = read_enrolment(settings, made.robot_id, trusted_keys(settings.keys))
    except UserError:
        before = None  # damaged, or signed by a key since taken out of trust: written anew
    made = replace(made, enrolled_ns=before.enrolled_ns) if before else made
    write_signed(folder_of(settings, made.robot_id), FILE, "enrolment", asdict(made), key)
    return made


def require_own_key(settings: Settings, made: Enrolment) -> None:
    """Raise UserError where the key is one that another robot has."""
    name = key_id(public_key(made.key.encode()))
    for other in enrolled(settings).values():
        if isinstance(other, Enrolment) and other.robot_id != made.robot_id and _key_id(other) == name:
            raise UserError(
                f"robot {made.robot_id}: key {name} is {other.robot_id}'s; make it one of its own "
                "(`lwd robot key` on its computer)"
            )


def revoke(settings: Settings, robot_id: str, key: Ed25519PrivateKey, now_ns: int) -> Enrolment:
    """Take in nothing of a robot any more. Raises UserError for one that is not enrolled."""
    found = read_enrolment(settings, robot_id, trusted_keys(settings.keys))
    if found is None:
        known = enrolled(settings)
        raise UserError(
            f"robot {robot_id}: not enrolled{suggest(robot_id, known)}; `lwd robot list` has them"
        )
    gone = replace(found, revoked_ns=found.revoked_ns or now_ns)
    write_signed(folder_of(settings, robot_id), FILE, "enrolment", asdict(gone), key)
    return gone


def read_enrolment(
    settings: Settings, robot_id: str, trusted: dict[str, Ed25519PublicKey]
) -> Enrolment | None:
    """What a robot's file says; None where there is none. Raises UserError for one that can't be believed."""
    place = folder_of(settings, robot_id)
    try:
        values = read_signed(place, FILE, "enrolment", trusted)
        if values is None:
            return None
        known = {one.name for one in fields(Enrolment)}
        found = Enrolment(**{name: value for name, value in values.items() if name in known})
        public_key(found.key.encode())
    except (NotSigned, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{error}; enrol the robot anew (`lwd robot enrol`)") from error
    if found.robot_id != robot_id:
        raise UserError(f"{place.path(FILE)}: is {found.robot_id}'s; the file was moved, remove it")
    return found


def enrolled(settings: Settings) -> dict[str, Enrolment | str]:
    """Every robot that has a folder and an enrolment in it, by id; why, where that can't be believed."""
    place, trusted = open_location(settings.robots), trusted_keys(settings.keys)
    found: dict[str, Enrolment | str] = {}
    try:
        folders = sorted(place.fs.ls(place.root, detail=False))
    except FileNotFoundError:
        return found
    for path in folders:
        robot_id = place.relative(path).strip("/")
        if not plain(robot_id):
            continue
        try:
            one = read_enrolment(settings, robot_id, trusted)
        except UserError as problem:
            found[robot_id] = str(problem)
            continue
        except (PermissionError, IsADirectoryError, NotADirectoryError) as problem:
            found[robot_id] = f"{place.path(robot_id, FILE)}: can't be read ({problem}); mend its rights"
            continue
        if one is not None:
            found[robot_id] = one
    return found


def vouch(robot_id: str, site: str, sha256: str, key: Ed25519PrivateKey) -> str:
    """The line that a robot adds to the digest beside its log: key id and signature."""
    signature = sign(_stated(robot_id, site, sha256), key)
    return f"{signature.key_id} {signature.signature}"


@dataclass(frozen=True)
class Registry:
    """Whose logs are taken in. ``robots``: by id; what is not among them is not asked for a signature, or
    refused where ``alone`` (only enrolled robots' logs are taken)."""

    robots: Mapping[str, Enrolment | str] = field(default_factory=dict[str, "Enrolment | str"])
    alone: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "Registry":
        """As it is now."""
        return cls(enrolled(settings), settings.enrolled_only)

    def asks(self, robot_id: str | None) -> bool:
        """Whether a log of this landing folder has to be vouched for; None: it lies elsewhere."""
        return robot_id is not None and (self.alone or robot_id in self.robots)

    def refused(self, robot_id: str, reason: str) -> bool:
        """Whether a reason is one that `refusal` gives of a robot."""
        return reason.startswith((f"robot {robot_id} ", f"robot {robot_id}: "))

    def refusal(self, robot_id: str, site: str | None, sha256: str, vouched: str) -> str | None:
        """Why a log of this landing folder is not taken; None if it is. ``vouched``: the line beside it."""
        found = self.robots.get(robot_id)
        if found is None:
            return (
                f"robot {robot_id} is not enrolled, and `enrolled_only` is set; once it is (`lwd robot "
                "enrol`) the next ingest takes it"
            )
        if isinstance(found, str):
            return f"robot {robot_id}: {found}"
        if found.revoked_ns is not None:
            day = datetime.fromtimestamp(found.revoked_ns / 1e9, UTC).strftime("%Y-%m-%d")
            return f"robot {robot_id} was revoked on {day}; `lwd robot enrol` takes it back"
        if site != found.site:
            return (
                f"robot {robot_id} is enrolled at {found.site}, not at {site}; enrol it there, or find out "
                "who wrote here"
            )
        words = vouched.split()
        if len(words) != 2:
            return (
                f"robot {robot_id} is enrolled and did not sign it; give it its key (`lwd robot key`) or "
                "find out who wrote here"
            )
        key = public_key(found.key.encode())
        problem = verify(_stated(robot_id, found.site, sha256), Signature(*words), {key_id(key): key})
        return (
            f"robot {robot_id}: {problem}; find out who wrote here, or enrol its new key" if problem else None
        )


def _stated(robot_id: str, site: str, sha256: str) -> bytes:
    return canonical_json({"log": sha256, "robot_id": robot_id, "site": site})


def _key_id(one: Enrolment) -> str:
    return key_id(public_key(one.key.encode()))
