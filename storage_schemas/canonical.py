"""Canonical bytes: the same value gives the same bytes on every machine, so that digests mean something."""

import hashlib
import json


def canonical_json(value: object) -> bytes:
    """Render JSON with sorted keys, no spaces, no NaN, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(value: object) -> str:
    """SHA-256 over the canonical bytes, hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
