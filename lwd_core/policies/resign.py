"""Sign anew what an older key signed, so that the older key can go out of trust.

Only policies the lake knows are signed again: an id is the digest of its manifest, so whoever holds a
stolen key can't have slipped one in under an id of the table.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.channel_file import BadRelease, current
from lwd_core.policies.keys import sign
from lwd_core.policies.registry import address
from lwd_core.policies.release import disagreement, refresh
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import MANIFEST, POLICY_ID_LENGTH, SIGNATURE
from storage_schemas.vocabulary import Channel


@dataclass(frozen=True)
class Resigned:
    """Names of what was signed anew; a line for each policy that lies in another home and was left."""

    done: list[str]
    left: list[str]


def resign(
    lake: Lake,
    settings: Settings,
    key: Ed25519PrivateKey,
    trusted: dict[str, Ed25519PublicKey],
    *,
    now_ns: int,
) -> Resigned:
    """Sign the lake's policies and the channels with ``key``.

    What ``key`` signed already stays as it is, so calling again changes nothing. Only bundles below this
    home's own policies root are written to. Raises BadRelease for a channel that does not verify with
    ``trusted`` now or differs from the table: what is on it must be looked at by a person.
    """
    mine = sign(b"", key).key_id
    done: list[str] = []
    left: list[str] = []
    # channels first: their signatures are checked, so nothing is touched where one does not hold
    held = [channel for channel in Channel if current(settings.releases, channel, trusted) is not None]
    for channel in held:
        problem = disagreement(lake, settings.releases, channel, trusted, 0)
        if problem:
            raise BadRelease(problem)
    for row in lake.sql("SELECT policy_id, uri FROM policies ORDER BY created_ns").to_pylist():
        try:
            place = open_location(address(settings.policies, row))
        except UserError as foreign:
            left.append(str(foreign))
            continue
        if not place.exists(MANIFEST):
            continue  # a policy that was deleted to make room
        manifest = place.read(MANIFEST)
        if hashlib.sha256(manifest).hexdigest()[:POLICY_ID_LENGTH] != row["policy_id"]:
            continue  # its bytes are not the ones registered; a robot refuses it whoever signs
        if place.exists(SIGNATURE) and json.loads(place.read(SIGNATURE)).get("key_id") == mine:
            continue
        with place.write(SIGNATURE) as file:
            file.write(canonical_json(asdict(sign(manifest, key))))
        done.append(f"policy {row['policy_id']}")
    old = [channel for channel in held if signer(settings.releases, channel) != mine]
    for release in refresh(
        lake,
        settings.releases,
        old,
        key=key,
        trusted=trusted,
        now_ns=now_ns,
        valid_days=settings.release_days,
    ):
        done.append(f"channel {release.channel}")
    return Resigned(done, left)


def signer(releases: str, channel: Channel) -> str:
    """Id of the key that signed what a channel holds."""
    return json.loads(open_location(releases).read(f"{channel}.json"))["signature"]["key_id"]
