"""Keys that sign policies and releases (ed25519), and the ones a robot trusts.

A folder holds ``signing.pem`` (private, mode 0600, only where policies are made) and
``trusted/<key id>.pem`` (public, on every robot). Rotation adds a key: what the old one
signed stays valid until its public key is taken out of ``trusted``.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError

#: A deployment hands the private key in through the environment (PEM text), not a file.
SIGNING_KEY_VARIABLE = "LWD_SIGNING_KEY"


@dataclass(frozen=True)
class Signature:
    """Who signed, and the signature, both hex."""

    key_id: str
    signature: str


def key_id(key: Ed25519PublicKey) -> str:
    """Name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def signing_key(folder: str) -> Ed25519PrivateKey:
    """Return the private key: from the environment, else from the folder, made on first use."""
    text = os.environ.get(SIGNING_KEY_VARIABLE)
    if text:
        return _private(text.encode(), SIGNING_KEY_VARIABLE)
    path = Path(folder) / "signing.pem"
    if not path.exists():
        rotate(folder)
    return _private(path.read_bytes(), str(path))


def rotate(folder: str) -> str:
    """Make a new signing key, trust it beside the older ones, and return its id."""
    key = Ed25519PrivateKey.generate()
    root = Path(folder)
    trusted = root / "trusted"
    trusted.mkdir(parents=True, exist_ok=True)
    name = key_id(key.public_key())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # The public key first: a key that signs must never be one that nobody trusts.
    (trusted / f"{name}.pem").write_bytes(public)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    temporary = root / f".signing.{name}.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    temporary.replace(root / "signing.pem")
    return name


def trusted_keys(folder: str) -> dict[str, Ed25519PublicKey]:
    """Return the public keys a robot trusts, by id."""
    keys: dict[str, Ed25519PublicKey] = {}
    for path in sorted((Path(folder) / "trusted").glob("*.pem")):
        key = serialization.load_pem_public_key(path.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise UserError(f"{path}: not an ed25519 public key; take it out of the folder")
        keys[key_id(key)] = key
    return keys


def sign(data: bytes, key: Ed25519PrivateKey) -> Signature:
    """Sign bytes."""
    return Signature(key_id(key.public_key()), key.sign(data).hex())


def verify(data: bytes, signature: Signature, trusted: dict[str, Ed25519PublicKey]) -> str | None:
    """Return None where the signature holds, else the reason why it doesn't."""
    key = trusted.get(signature.key_id)
    if key is None:
        return f"signed by key {signature.key_id}, which is not trusted here"
    try:
        key.verify(bytes.fromhex(signature.signature), data)
    except (InvalidSignature, ValueError):
        return f"the signature by key {signature.key_id} does not fit the bytes"
    return None


def _private(data: bytes, where: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except ValueError:
        key = None  # the parser's message could repeat the secret
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(
            f"{where}: not an ed25519 private key in PEM form; make one with `lwd policy rotate-key`"
        )
    return key
