"""Keys that sign policies and releases (ed25519), and the ones a robot trusts.

A folder holds ``signing.pem`` (private, mode 0600, only where policies are made) and
``trusted/<key id>.pem`` (public, on every robot). Rotation adds a key: what the old one
signed stays valid until its public key is taken out of ``trusted``, which `distrust` does.
A robot's own key, ``robots/<robot id>.pem`` (private, mode 0600), signs what it uploads and
lies on the robot alone.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import StorageError, UserError

#: A deployment hands the private key in through the environment (PEM text), not a file.
SIGNING_KEY_VARIABLE = "LWD_SIGNING_KEY"
SIGNING_FILE = "signing.pem"


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
    path = Path(folder) / SIGNING_FILE
    if not path.exists():
        rotate(folder)
    return _private(_read(path), str(path))


def has_signing_key(folder: str) -> bool:
    """Whether this machine signs at all; asking makes no key."""
    return bool(os.environ.get(SIGNING_KEY_VARIABLE)) or (Path(folder) / SIGNING_FILE).exists()


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
    name = key_id(key.public_key())
    # The public key first: a key that signs must never be one that nobody trusts.
    _write(root / "trusted" / f"{name}.pem", public_pem(key), 0o644)
    _write(root / SIGNING_FILE, _private_pem(key), 0o600)
    return name


def robot_key(folder: str, robot_id: str) -> Ed25519PrivateKey | None:
    """The private key by which a robot signs what it uploads; None where it has none."""
    path = _robot_file(folder, robot_id)
    return _private(_read(path), str(path), "`lwd robot key` and enrol it") if path.exists() else None


def make_robot_key(folder: str, robot_id: str, *, anew: bool = False) -> Ed25519PrivateKey:
    """A robot's key; made where it has none, or ``anew``."""
    found = None if anew else robot_key(folder, robot_id)
    if found is None:
        found = Ed25519PrivateKey.generate()
        _write(_robot_file(folder, robot_id), _private_pem(found), 0o600)
    return found


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half, PEM."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def public_key(public: bytes) -> Ed25519PublicKey:
    """The key a PEM text holds. Raises UserError where it is none."""
    try:
        key = serialization.load_pem_public_key(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError("not a public key in PEM form; give a file of some `keys/trusted`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UserError("not an ed25519 public key; give a file of some `keys/trusted`")
    return key


def trust(folder: str, public: bytes) -> str:
    """Trust a public key (PEM) beside the others and return its id. Raises UserError where it is none."""
    key = public_key(public)
    _write(Path(folder) / "trusted" / f"{key_id(key)}.pem", public, 0o644)
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
    for path in _trusted_files(folder):
        if key_id(_public(path)) == found[0]:
            path.unlink()
    return found[0]


def trusted_keys(folder: str) -> dict[str, Ed25519PublicKey]:
    """Return the public keys a robot trusts, by id. Raises UserError for a file that holds none."""
    found = [_public(path) for path in _trusted_files(folder)]
    return {key_id(key): key for key in found}


def keys_of(trusted: Mapping[str, Ed25519PublicKey] | str | os.PathLike[str]) -> dict[str, Ed25519PublicKey]:
    """Public keys by id, from what a person has at hand: keys, one public key's file, or a folder.

    A folder is one of keys, the ``trusted`` in it, or the home above it. Raises UserError where no key lies.
    """
    if isinstance(trusted, Mapping):
        return dict(trusted)
    root = Path(trusted)
    files = [root] if root.is_file() else [f for f in sorted(root.glob("*.pem")) if f.name != SIGNING_FILE]
    files = files or _trusted_files(str(root)) or _trusted_files(str(root / "keys"))
    if not files:
        what = "no public key lies there" if root.exists() else "no such file or folder"
        raise UserError(
            f"{root}: {what}; give `<home>/keys`, a folder with trusted/*.pem, or one public key's file"
        )
    found = [_public(path) for path in files]
    return {key_id(key): key for key in found}


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


def _trusted_files(folder: str) -> list[Path]:
    return sorted((Path(folder) / "trusted").glob("*.pem"))


def _robot_file(folder: str, robot_id: str) -> Path:
    return Path(folder) / "robots" / f"{robot_id}.pem"


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public(path: Path) -> Ed25519PublicKey:
    data = _read(path)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        what = "not an ed25519 public key in PEM form" if data.strip() else "an empty file, no public key"
        raise UserError(f"{path}: {what}; bring it anew from the machine that signs, or remove the file")
    return key


def _private(data: bytes, where: str, remedy: str = "`lwd keys rotate`") -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # the parser's message could repeat the secret
    if not isinstance(key, Ed25519PrivateKey):
        what = "not an ed25519 private key in PEM form" if data.strip() else "an empty file, no private key"
        raise UserError(f"{where}: {what}; restore it from a backup, or make a new one with {remedy}")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); give this user the right to") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """The file whole or not at all, on disk before it has its name: a full disk leaves what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: can't be written ({error.strerror}); nothing was changed") from error
