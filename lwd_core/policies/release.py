"""Release channels: which policy robots run, and how it came to be that one.

A channel is one signed file, ``<releases>/<channel>.json``, that robots poll; it is
written whole. The ``releases`` table is its history, one row an event, written first:
a file without a row cannot happen, a row without its file is repaired by the next call.
"""

import json
from dataclasses import asdict, dataclass

import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.lake.place import open_place
from lwd_core.lake.store import Lake
from lwd_core.policies.keys import Signature, sign, verify
from storage_schemas.canonical import canonical_json, digest
from storage_schemas.tables import RELEASES
from storage_schemas.vocabulary import Channel, ReleaseState

_STATE = {Channel.CANARY: ReleaseState.CANARY, Channel.PRODUCTION: ReleaseState.PRODUCTION}


class BadRelease(UserError):
    """A channel file that a robot must not follow."""


@dataclass(frozen=True)
class Release:
    """A policy on a channel."""

    release_id: str
    channel: str
    policy_id: str
    policy_uri: str
    parent: str | None
    created_ns: int


def current(releases: str, channel: Channel, trusted: dict[str, Ed25519PublicKey]) -> Release | None:
    """Return what a channel holds, or None while it is empty. Raises BadRelease."""
    releases_place = open_place(releases)
    place = releases_place.path(_file(channel))
    try:
        data = releases_place.read(_file(channel))
    except FileNotFoundError:
        return None
    try:
        record = json.loads(data)
        release = Release(**record["release"])
        signature = Signature(**record["signature"])
    except (ValueError, TypeError, KeyError) as error:
        raise BadRelease(f"{place}: no release record; release the policy anew") from error
    problem = verify(canonical_json(asdict(release)), signature, trusted)
    if problem:
        raise BadRelease(f"{place}: {problem}; trust the key or release the policy anew")
    if release.channel != channel:
        raise BadRelease(f"{place}: holds a release for {release.channel}; the file was moved")
    return release


def publish(
    lake: Lake,
    releases: str,
    channel: Channel,
    *,
    policy_id: str,
    policy_uri: str,
    key: Ed25519PrivateKey,
    evidence: dict[str, object],
    now_ns: int,
) -> Release:
    """Put a policy on a channel; doing it again with the policy already there changes nothing."""
    trusted = {sign(b"", key).key_id: key.public_key()}
    try:
        before = current(releases, channel, trusted)
    except BadRelease:
        before = None  # signed by a key since rotated out, or damaged: replaced below
    if before and before.policy_id == policy_id:
        return before
    parent = before.release_id if before else None
    release_id = digest([channel, policy_id, parent])[:24]
    release = Release(release_id, str(channel), policy_id, policy_uri, parent, now_ns)
    _record(lake, release, _STATE[channel], evidence, now_ns)
    if before:
        _record(lake, before, ReleaseState.SUPERSEDED, {"by": release_id}, now_ns)
    write_release(releases, release, key)
    return release


def rollback(
    lake: Lake,
    releases: str,
    channel: Channel,
    *,
    key: Ed25519PrivateKey,
    trusted: dict[str, Ed25519PublicKey],
    evidence: dict[str, object],
    now_ns: int,
    first: Release | None = None,
) -> Release:
    """Give a channel back to the policy before the current one, or where there was none to ``first``'s.

    Raises UserError where there is neither.
    """
    bad = current(releases, channel, trusted)
    if bad is None or (bad.parent is None and first is None):
        raise UserError(f"channel {channel}: nothing to roll back to; publish another policy instead")
    if bad.parent is not None:
        policy_id, uri, parent = _content(lake, channel, bad.parent)
    else:
        assert first is not None
        policy_id, uri, parent = first.policy_id, first.policy_uri, None
    # Its parent is the one before it, not the bad one: a second rollback goes further back.
    restored = Release(
        release_id=digest([channel, policy_id, "after", bad.release_id])[:24],
        channel=str(channel),
        policy_id=policy_id,
        policy_uri=uri,
        parent=parent,
        created_ns=now_ns,
    )
    _record(lake, bad, ReleaseState.ROLLED_BACK, evidence, now_ns)
    _record(lake, restored, _STATE[channel], {"rolled_back": bad.release_id}, now_ns)
    write_release(releases, restored, key)
    return restored


def _content(lake: Lake, channel: Channel, release_id: str) -> tuple[str, str, str | None]:
    """Policy, its address and the parent of an earlier release."""
    rows = lake.sql(
        "SELECT r.policy_id, p.uri, r.parent FROM releases r JOIN policies p USING (policy_id) "
        "WHERE r.release_id = ? LIMIT 1",
        (release_id,),
    ).to_pylist()
    if not rows:
        raise UserError(
            f"channel {channel}: release {release_id} is not in the releases table; publish a policy instead"
        )
    return rows[0]["policy_id"], rows[0]["uri"], rows[0]["parent"]


def _file(channel: str) -> str:
    return f"{channel}.json"


def _record(
    lake: Lake, release: Release, state: ReleaseState, evidence: dict[str, object], now_ns: int
) -> None:
    row = {
        "release_id": release.release_id,
        "channel": release.channel,
        "policy_id": release.policy_id,
        "parent": release.parent,
        "state": str(state),
        "evidence": canonical_json(evidence).decode(),
        "created_ns": now_ns,
    }
    rows = pa.Table.from_pylist([row], schema=RELEASES.schema)
    lake.replace("releases", rows, {"release_id": [release.release_id], "state": [str(state)]})


def write_release(releases: str, release: Release, key: Ed25519PrivateKey) -> None:
    """Sign a release and put it on its channel, whole; its row in the table is the caller's."""
    signature = sign(canonical_json(asdict(release)), key)
    record = {"release": asdict(release), "signature": asdict(signature)}
    with open_place(releases).write(_file(release.channel)) as file:
        file.write(canonical_json(record))
