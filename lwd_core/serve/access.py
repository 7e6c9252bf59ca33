"""Who may ask: a token or a client's certificate anywhere but on the loopback address.

- A server that others can reach starts with one of the two, or not at all.
- The token comes from a file or the environment, is compared in constant time, and is said nowhere.
- A page that a browser has open reaches the loopback address too: whatever names an origin is refused, and
  without a token so is a request to another host's name.
"""

import hmac
import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lwd_core.errors import UserError

VARIABLE = "LWD_SERVE_TOKEN"
#: Letters of a token at least; 24 random bytes in base64 are 32.
SHORTEST = 16
_SCHEMES = ("Api-Key ", "Bearer ")  # what openpi's client sends, and what others do


@dataclass(frozen=True)
class Access:
    """What is asked of whoever connects. ``tls``: the context it is asked in, None for plain websockets."""

    host: str = "127.0.0.1"
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        mutual = self.tls is not None and self.tls.verify_mode is ssl.CERT_REQUIRED
        if not self.local and not self.token and not mutual:
            raise UserError(
                f"--host {self.host}: others reach that, so robots must say who they are; give a token "
                f"(--token-file, or {VARIABLE}) or certificates (--client-ca), or stay on 127.0.0.1"
            )

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host == "localhost" or _is_loopback(self.host)

    @property
    def in_the_clear(self) -> bool:
        """Whether somebody on the network can read the token and what robots see."""
        return not self.local and self.tls is None

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """HTTP status and reason where a request, by its headers, is not answered."""
        if headers.get("Origin") is not None:
            return 403, "a browser's page asks; only robots and tools are answered here\n"
        if self.token:
            said = headers.get("Authorization") or ""
            scheme = next((s for s in _SCHEMES if said.startswith(s)), "")
            given = said.removeprefix(scheme).strip().encode("utf-8", "surrogateescape")
            if not scheme or not hmac.compare_digest(given, self.token.encode()):
                return 401, (
                    "wrong or no token; send it as `Authorization: Api-Key TOKEN`, as openpi's client does "
                    "with its api_key\n"
                )
        elif self.local:
            name = (headers.get("Host") or "").rsplit(":", 1)[0].strip("[]")
            if name != "localhost" and not _is_loopback(name):
                return 403, "this is another server than the one you named; connect to 127.0.0.1\n"
        return None


def token_from(file: Path | None) -> str:
    """The token of a file, or of the environment; empty where there is neither.

    Raises UserError, without repeating it, for one that is too short or can't stand in a header.
    """
    where = str(file or VARIABLE)
    try:
        token = (os.environ.get(VARIABLE, "") if file is None else file.read_text()).strip()
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: can't be read ({error}); give a file with the token alone") from error
    if not token and file is None and VARIABLE not in os.environ:
        return ""
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(
            f"{where}: not a token of {SHORTEST} or more letters without blanks; "
            "`python -c 'import secrets; print(secrets.token_urlsafe(24))'` makes one"
        )
    return token


def tls_from(certificate: Path | None, key: Path | None, client_ca: Path | None) -> ssl.SSLContext | None:
    """The context for these PEM files; None without any. With ``client_ca``, robots must show a certificate
    that it signed. Raises UserError naming the file that does not do."""
    if certificate is None:
        if key or client_ca:
            raise UserError(f"{'--tls-key' if key else '--client-ca'}: needs --tls-cert, the server's own")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(
            certificate, key, password=""
        )  # one with a password is refused, not asked for
    except (OSError, ValueError) as error:
        raise UserError(
            f"{certificate}: no certificate with its key in PEM ({error}); give --tls-cert and --tls-key, "
            "without a password"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{client_ca}: no certificates in PEM ({error}); give the CA's of robots"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may mean any address
        return False
