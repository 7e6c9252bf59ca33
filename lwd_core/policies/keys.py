"""Keys that sign policies and releases (ed25519), and the ones a robot trusts.

A folder holds ``signing.pem`` (private, mode 0600, only where policies are made) and
``trusted/<key id>.pem`` (public, on every robot). Rotation adds a key: what the old one
signed stays valid until its public key is taken out of ``trusted``, which `distrust` does.
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


def has_signing_key(folder: str) -> bool:
    """Whether this machine signs at all; asking makes no key."""
    return bool(os.environ.get(SIGNING_KEY_VARIABLE)) or (Path(folder) / "signing.pem").exists()


def require_signing_file() -> None:
    """Raise UserError where the key comes from the environment: a new file would never be used."""
    if os.environ.get(SIGNING_KEY_VARIABLE):
        raise UserError(
            f"{SIGNING_KEY_VARIABLE} is set and signs here; replace it where the deployment keeps its secrets"
        )


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


def trust(folder: str, public: bytes) -> str:
    """Trust a public key (PEM) beside the others and return its id. Raises UserError where it is none."""
    try:
        key = serialization.load_pem_public_key(public)
    except ValueError as error:
        raise UserError("not a public key in PEM form; give a file of some `keys/trusted`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UserError("not an ed25519 public key; give a file of some `keys/trusted`")
    trusted = Path(folder) / "trusted"
    trusted.mkdir(parents=True, exist_ok=True)
    (trusted / f"{key_id(key)}.pem").write_bytes(public)
    return key_id(key)


def distrust(folder: str, prefix: str) -> str:
    """Take one key out of the trusted set and return its id: nothing it signed holds from now on.

    Raises UserError for an unknown key, and for the one that signs here: rotate first.
    """
    found = [name for name in trusted_keys(folder) if name.startswith(prefix)]
    if len(found) != 1:
        raise UserError(f"key {prefix}: {len(found)} trusted keys start like this; `lwd keys list` has them")
    if has_signing_key(folder) and key_id(signing_key(folder).public_key()) == found[0]:
        raise UserError(f"key {found[0]}: it signs here; `lwd keys rotate` first")
    for path in (Path(folder) / "trusted").glob("*.pem"):
        key = serialization.load_pem_public_key(path.read_bytes())
        if isinstance(key, Ed25519PublicKey) and key_id(key) == found[0]:
            path.unlink()
    return found[0]


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
        raise UserError(f"{where}: not an ed25519 private key in PEM form; make one with `lwd keys rotate`")
    return key
