"""Write and read policy bundles; refuse one whose bytes or signature do not hold."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.policies.keys import Signature, sign, verify
from lwd_core.storage.location import open_location
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import (
    BASED_VERSION,
    FORMAT_VERSION,
    MANIFEST,
    POLICY_ID_LENGTH,
    SIGNATURE,
    WEIGHTS,
    PolicyManifest,
)

# torch takes a second to load, and what only names a policy has no use for it
if TYPE_CHECKING:
    from torch import Tensor


class BadBundle(UserError):
    """A policy bundle that must not be run: missing, damaged, or not signed by a trusted key."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    policy_id: str
    uri: str
    manifest: PolicyManifest
    weights: "dict[str, Tensor]"


def save_bundle(
    policies: str,
    manifest: PolicyManifest,
    weights: "dict[str, Tensor]",
    key: Ed25519PrivateKey,
) -> Bundle:
    """Write a bundle below ``policies`` and return it; the same content gives the same id.

    ``manifest.weights_sha256`` is filled in here. The manifest is written last: a folder
    without one is no bundle yet, and a second call completes it.
    """
    from safetensors.torch import save as save_tensors

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(weights.items())}
    data = save_tensors(weights)
    manifest = replace(manifest, weights_sha256=hashlib.sha256(data).hexdigest())
    text = manifest.to_bytes()
    policy_id = hashlib.sha256(text).hexdigest()[:POLICY_ID_LENGTH]
    place = open_location(policies)
    parts = {WEIGHTS: data, SIGNATURE: canonical_json(asdict(sign(text, key))), MANIFEST: text}
    for name, content in parts.items():
        with place.write(policy_id, name) as file:
            file.write(content)
    return Bundle(policy_id, place.path(policy_id), manifest, weights)


def load_bundle(uri: str, trusted: dict[str, Ed25519PublicKey]) -> Bundle:
    """Read a bundle and verify signature, digest and weights, in this order.

    Nothing of the manifest is used before its signature holds. Raises BadBundle.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    text = _part(uri, MANIFEST)
    try:
        signature = Signature(**json.loads(_part(uri, SIGNATURE)))
    except (ValueError, TypeError) as error:
        raise BadBundle(f"{uri}/{SIGNATURE}: no signature record; release the policy anew") from error
    problem = verify(text, signature, trusted)
    if problem:
        raise BadBundle(f"{uri}: {problem}; trust the key or release the policy anew")
    policy_id = hashlib.sha256(text).hexdigest()[:POLICY_ID_LENGTH]
    if policy_id != uri.rstrip("/").rsplit("/", 1)[-1]:
        raise BadBundle(
            f"{uri}: the manifest belongs to policy {policy_id}; the folder was renamed or mixed up"
        )
    value = json.loads(text)
    version = value.get("format_version")
    if version not in (FORMAT_VERSION, BASED_VERSION):
        raise BadBundle(f"{uri}: bundle format {version}, this version reads up to {BASED_VERSION}; upgrade")
    manifest = PolicyManifest.from_dict(value)
    data = _part(uri, WEIGHTS)
    if hashlib.sha256(data).hexdigest() != manifest.weights_sha256:
        raise BadBundle(f"{uri}/{WEIGHTS}: the bytes do not match the manifest; fetch the bundle again")
    try:
        weights = load_tensors(data)
    except SafetensorError as error:
        raise BadBundle(f"{uri}/{WEIGHTS}: {error}") from error
    return Bundle(policy_id, uri, manifest, weights)


def _part(uri: str, name: str) -> bytes:
    place = open_location(uri)
    try:
        return place.read(name)
    except FileNotFoundError:
        if not place.exists():
            raise BadBundle(
                f"{uri}: no policy there; give its folder, `<policies>/<policy_id>` of `lwd policy list`"
            ) from None
        raise BadBundle(f"{uri}/{name}: no such file; the bundle is incomplete") from None
