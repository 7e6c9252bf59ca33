"""Small signed files that are read without a lake: ``{what: {…}, "signature": {…}}``, each written whole."""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.policies.keys import Signature, sign, verify
from lwd_core.storage.location import Location
from storage_schemas.canonical import canonical_json

#: No such file is longer than this; more is not read.
_MOST_BYTES = 1 << 16


class NotSigned(UserError):
    """A file that is damaged, or signed by nobody who is trusted."""


def write_signed(
    place: Location, name: str, what: str, values: Mapping[str, Any], key: Ed25519PrivateKey
) -> None:
    """Sign the values and write them, whole."""
    signature = sign(canonical_json(values), key)
    record = {what: values, "signature": {"key_id": signature.key_id, "signature": signature.signature}}
    with place.write(name) as file:
        file.write(canonical_json(record))


def read_signed(
    place: Location, name: str, what: str, trusted: dict[str, Ed25519PublicKey]
) -> dict[str, Any] | None:
    """The values a file holds; None where there is none.

    A newer version may say more than this one knows: that is signed with the rest. Raises `NotSigned`, which
    ends where the remedy would begin.
    """
    try:
        data = place.read(name, most=_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    where = place.path(name)
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        record = json.loads(data)
        problem = verify(canonical_json(record[what]), Signature(**record["signature"]), trusted)
        values: dict[str, Any] = {**record[what]}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotSigned(f"{where}: no {what} record") from error
    if problem:
        raise NotSigned(f"{where}: {problem}")
    return values
