"""Sign anew what an older key signed, so that the older key can go out of trust.

Only policies the lake knows are signed again: an id is the digest of its manifest, so whoever holds a
stolen key can't have slipped one in under an id of the table.
"""

import hashlib
import json
from dataclasses import asdict

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.lake.place import open_place
from lwd_core.lake.store import Lake
from lwd_core.policies.keys import sign
from lwd_core.policies.release import current, write_release
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import MANIFEST, POLICY_ID_LENGTH, SIGNATURE
from storage_schemas.vocabulary import Channel


def resign(
    lake: Lake, releases: str, key: Ed25519PrivateKey, trusted: dict[str, Ed25519PublicKey]
) -> list[str]:
    """Sign the lake's policies and the channels with ``key``; return the names of what was signed anew.

    What ``key`` signed already stays as it is, so calling again changes nothing. Raises BadRelease for a
    channel that does not verify with ``trusted`` now: what is on it must be looked at by a person.
    """
    mine = sign(b"", key).key_id
    done = []
    # channels first: their signatures are checked, so nothing is touched where one does not hold
    held = {channel: current(releases, channel, trusted) for channel in Channel}
    for row in lake.sql("SELECT policy_id, uri FROM policies ORDER BY created_ns").to_pylist():
        place = open_place(row["uri"])
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
    for channel, release in held.items():
        if release is not None and signer(releases, channel) != mine:
            write_release(releases, release, key)
            done.append(f"channel {channel}")
    return done


def signer(releases: str, channel: Channel) -> str:
    """Id of the key that signed what a channel holds."""
    return json.loads(open_place(releases).read(f"{channel}.json"))["signature"]["key_id"]
