"""Releases: which policy each channel holds, and how it came to be that one.

The ``releases`` table says it, one row an event; the channel's file, written after its row, tells it to
robots. A row whose file is missing or older is repaired by `refresh`, or by the next event.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.channel_file import BadRelease, Release, current, refused, write_release
from lwd_core.policies.keys import sign
from storage_schemas.canonical import canonical_json, digest
from storage_schemas.tables import RELEASES
from storage_schemas.vocabulary import Channel, ReleaseState

#: Days for which robots follow a channel file where the settings say nothing else.
VALID_DAYS = 30.0
_STATE = {Channel.CANARY: ReleaseState.CANARY, Channel.PRODUCTION: ReleaseState.PRODUCTION}
_DAY_NS = 86_400 * 10**9


def recorded(lake: Lake, channel: Channel) -> Release | None:
    """What the releases table says a channel holds; None while nothing was released there."""
    rows = lake.sql(
        "SELECT release_id, channel, policy_id, parent, created_ns, coalesce(number, 0) AS number, "
        "expires_ns FROM releases WHERE channel = ? AND state = ? "
        "ORDER BY coalesce(number, 0) DESC, created_ns DESC LIMIT 1",
        (str(channel), str(_STATE[channel])),
    ).to_pylist()
    return Release(**rows[0]) if rows else None


def disagreement(
    lake: Lake, releases: str, channel: Channel, trusted: dict[str, Ed25519PublicKey], now_ns: int
) -> str | None:
    """Where a channel's file and the table differ, or why robots refuse the file; None where all is well."""
    said = recorded(lake, channel)
    try:
        held = current(releases, channel, trusted)
    except BadRelease as problem:
        return str(problem)
    mend = "`lwd policy refresh` writes what the table says"
    if held is None:
        return said and f"channel {channel}: no file, the table says {said.release_id}; {mend}"
    if said is None or held.number > said.number:
        table = f"the table ends with number {said.number}" if said else "the table has none"
        return (
            f"channel {channel}: the file holds release {held.release_id} (number {held.number}), {table}: "
            "was the lake restored from before? Publish the policy anew"
        )
    if (held.release_id, held.number) != (said.release_id, said.number):
        return (
            f"channel {channel}: the file holds release {held.release_id} (number {held.number}), the table "
            f"says {said.release_id} (number {said.number}): an older file was put back, or a release was "
            f"cut off; {mend}"
        )
    return refused(held, None, now_ns)


def publish(
    lake: Lake,
    releases: str,
    channel: Channel,
    *,
    policy_id: str,
    key: Ed25519PrivateKey,
    evidence: dict[str, object],
    now_ns: int,
    valid_days: float = VALID_DAYS,
) -> Release:
    """Put a policy on a channel; doing it again with the policy already there changes nothing."""
    before = recorded(lake, channel)
    if before and before.policy_id == policy_id:
        trusted = {sign(b"", key).key_id: key.public_key()}
        try:
            if current(releases, channel, trusted) == before and not before.expired(now_ns):
                return before
        except BadRelease:
            pass  # damaged, or signed by a key since rotated out: written anew
        return _renew(lake, releases, before, key, now_ns, valid_days)
    parent = before.release_id if before else None
    release_id = digest([channel, policy_id, parent])[:24]
    release = Release(release_id, str(channel), policy_id, parent, now_ns)
    release = _number(lake, release, _STATE[channel], evidence, now_ns, valid_days)
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
    evidence: dict[str, object],
    now_ns: int,
    first: Release | None = None,
    valid_days: float = VALID_DAYS,
) -> Release:
    """Give a channel back to the policy before the current one, or where there was none to ``first``'s.

    Raises UserError where there is neither.
    """
    bad = recorded(lake, channel)
    if bad is None or (bad.parent is None and first is None):
        raise UserError(f"channel {channel}: nothing to roll back to; publish another policy instead")
    if bad.parent is not None:
        policy_id, parent = _content(lake, channel, bad.parent)
    else:
        assert first is not None
        policy_id, parent = first.policy_id, None
    # Its parent is the one before it, not the bad one: a second rollback goes further back.
    restored = Release(
        release_id=digest([channel, policy_id, "after", bad.release_id])[:24],
        channel=str(channel),
        policy_id=policy_id,
        parent=parent,
        created_ns=now_ns,
    )
    _record(lake, bad, ReleaseState.ROLLED_BACK, evidence, now_ns)
    why: dict[str, object] = {"rolled_back": bad.release_id}
    restored = _number(lake, restored, _STATE[channel], why, now_ns, valid_days)
    write_release(releases, restored, key)
    return restored


def refresh(
    lake: Lake,
    releases: str,
    channels: Iterable[Channel] = tuple(Channel),
    *,
    key: Ed25519PrivateKey,
    trusted: dict[str, Ed25519PublicKey],
    now_ns: int,
    valid_days: float = VALID_DAYS,
) -> list[Release]:
    """Sign what the table says each channel holds with a new number and a new expiry; return what was signed.

    A file that is missing, older or damaged is mended by it. Raises BadRelease, before anything is written,
    for a file with a higher number than the table's: the lake was restored from before that release.
    """
    found = [release for channel in channels if (release := recorded(lake, channel))]
    for release in found:
        try:
            held = current(releases, Channel(release.channel), trusted)
        except BadRelease:
            continue
        if held and held.number > release.number:
            raise BadRelease(str(disagreement(lake, releases, Channel(release.channel), trusted, now_ns)))
    return [_renew(lake, releases, release, key, now_ns, valid_days) for release in found]


def _renew(
    lake: Lake, releases: str, release: Release, key: Ed25519PrivateKey, now_ns: int, valid_days: float
) -> Release:
    (row,) = lake.sql(
        "SELECT evidence FROM releases WHERE release_id = ? AND state = ?",
        (release.release_id, str(_STATE[Channel(release.channel)])),
    ).to_pylist()
    evidence = json.loads(row["evidence"])
    again = _number(lake, release, _STATE[Channel(release.channel)], evidence, now_ns, valid_days)
    write_release(releases, again, key)
    return again


def _content(lake: Lake, channel: Channel, release_id: str) -> tuple[str, str | None]:
    """Policy and the parent of an earlier release."""
    rows = lake.sql(
        "SELECT policy_id, parent FROM releases WHERE release_id = ? LIMIT 1", (release_id,)
    ).to_pylist()
    if not rows:
        raise UserError(
            f"channel {channel}: release {release_id} is not in the releases table; publish a policy instead"
        )
    return rows[0]["policy_id"], rows[0]["parent"]


def _number(
    lake: Lake,
    release: Release,
    state: ReleaseState,
    evidence: dict[str, object],
    now_ns: int,
    valid_days: float,
) -> Release:
    """Enter a release under the next number of its channel and return it.

    A number is the second it was given at, or one more than the last: it grows also where a lake was restored
    from a backup and doesn't know of the last ones.
    """
    made = release

    def next_one(version: int) -> Release:
        nonlocal made
        (row,) = lake.sql(
            "SELECT coalesce(max(number), 0) AS last FROM releases WHERE channel = ?",
            (release.channel,),
            versions={"releases": version},
        ).to_pylist()
        number = max(row["last"] + 1, now_ns // 10**9)
        made = replace(release, number=number, expires_ns=now_ns + round(valid_days * _DAY_NS))
        return made

    _enter(lake, release, state, lambda version: _row(next_one(version), state, evidence, release.created_ns))
    return made


def _record(
    lake: Lake, release: Release, state: ReleaseState, evidence: dict[str, object], now_ns: int
) -> None:
    """Enter an event on a release that no file tells of."""
    rows = _row(replace(release, number=0), state, evidence, now_ns)
    _enter(lake, release, state, lambda _version: rows)


def _row(release: Release, state: ReleaseState, evidence: dict[str, object], now_ns: int) -> pa.Table:
    row = {
        "release_id": release.release_id,
        "channel": release.channel,
        "policy_id": release.policy_id,
        "parent": release.parent,
        "state": str(state),
        "evidence": canonical_json(evidence).decode(),
        "created_ns": now_ns,
        "number": release.number or None,
        "expires_ns": release.expires_ns if release.number else None,
    }
    return pa.Table.from_pylist([row], schema=RELEASES.schema)


def _enter(lake: Lake, release: Release, state: ReleaseState, plan: Callable[[int], pa.Table]) -> None:
    lake.settle("releases", plan, {"release_id": [release.release_id], "state": [str(state)]})
