"""What leaves this machine, or is shown, without the secrets that may stand in it."""

import os
import re
from collections.abc import Mapping
from typing import Any, cast

HIDDEN = "***"
#: Names of what is nobody else's business, as variables and fields are called.
_SECRET = re.compile(r"(?i)(token|secret|passw|credential|api_?key|access_?key|private_?key|authorization)")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@")
_PAIR = re.compile(r"(?i)\b(bearer\s+|(?:token|secret|password|api_?key|sig(?:nature)?)=)[^\s&\"']+")
#: Shorter ones are words.
_SHORTEST = 8


def redacted(text: str) -> str:
    """A text without the values of this process's secret variables, credentials of addresses, and tokens."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _SECRET.search(name):
            text = text.replace(value, HIDDEN)
    return _PAIR.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", text))


def without_secrets(value: Any) -> Any:
    """Plain values, as of JSON, with every text `redacted` and what fields of such a name hold left out."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        fields = cast(Mapping[str, Any], value).items()
        hidden = (str, int, float)
        return {
            k: HIDDEN if _SECRET.search(str(k)) and isinstance(v, hidden) else without_secrets(v)
            for k, v in fields
        }
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in cast(list[Any], value)]
    return value
