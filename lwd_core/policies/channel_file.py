"""A channel's file, ``<releases>/<channel>.json``: it tells robots, who have no table, which policy to run.

Signed, written whole, with a number that grows and a day from which it is followed no more. So a robot can
tell an older file that was put back from the newest one, and one that newer ones are kept behind from a
quiet channel (the rollback and freeze attacks of The Update Framework).
"""

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.policies.signed_file import NotSigned, read_signed, write_signed
from lwd_core.storage.location import open_location
from storage_schemas.vocabulary import Channel


class BadRelease(UserError):
    """A channel file that a robot must not follow."""


@dataclass(frozen=True)
class Release:
    """A policy on a channel.

    ``number`` grows with every file of a channel; 0 where an older version signed it, and then nothing
    expires. ``expires_ns``: from then on robots don't follow the file.
    """

    release_id: str
    channel: str
    policy_id: str
    parent: str | None
    created_ns: int
    number: int = 0
    expires_ns: int | None = None

    def expired(self, now_ns: int) -> bool:
        """Whether the file is followed no more."""
        return self.expires_ns is not None and now_ns >= self.expires_ns

    @property
    def expires(self) -> str:
        """The day and hour it expires, for people."""
        if self.expires_ns is None:
            return "never"
        return datetime.fromtimestamp(self.expires_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")


def current(releases: str, channel: Channel, trusted: dict[str, Ed25519PublicKey]) -> Release | None:
    """Return what a channel's file says, as robots read it; None while there is none. Raises BadRelease.

    Whether it is the newest one and still to be followed, `refused` says.
    """
    place = open_location(releases)
    try:
        values = read_signed(place, _file(channel), "release", trusted)
        if values is None:
            return None
        # an older version said where the bundle lay: signed with the rest, not used
        known = {field.name for field in fields(Release)}
        release = Release(**{name: value for name, value in values.items() if name in known})
    except NotSigned as problem:
        trust = "" if str(problem).endswith("record") else "trust the key or "
        raise BadRelease(f"{problem}; {trust}release the policy anew") from problem
    except TypeError as error:
        raise BadRelease(
            f"{place.path(_file(channel))}: no release record; release the policy anew"
        ) from error
    if release.channel != channel:
        raise BadRelease(
            f"{place.path(_file(channel))}: holds a release for {release.channel}; the file was moved"
        )
    return release


def refused(release: Release, seen: int | None, now_ns: int) -> str | None:
    """Why a robot that has seen the number ``seen`` on a channel must not follow a file; None if it may."""
    what = f"channel {release.channel}: the file holds number {release.number}"
    if seen is not None and release.number < seen:
        return (
            f"{what}, and number {seen} was seen before: an older release was put back; "
            "`lwd policy status` tells where, `lwd policy refresh` puts the newest there"
        )
    if release.expired(now_ns):
        return (
            f"{what}, which expired on {release.expires}: newer ones may be kept from here; "
            "`lwd policy refresh` signs it anew"
        )
    return None


def write_release(releases: str, release: Release, key: Ed25519PrivateKey) -> None:
    """Sign a release and put it on its channel, whole; its row in the table is the caller's."""
    write_signed(open_location(releases), _file(release.channel), "release", asdict(release), key)


def _file(channel: str) -> str:
    return f"{channel}.json"
