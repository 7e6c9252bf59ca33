"""Who may ask, before anything listens."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import WebSocketException

from lwd_core.errors import UserError
from lwd_core.serve.access import VARIABLE, Access, tls_from, token_from
from lwd_core.serve.newest import OnePolicy
from tests.lwd_core.serve.robots import Client, Stub, served

TOKEN = "a-token-nobody-may-read"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 with its key, which signed itself: server, robot and CA at once."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "both.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return file


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.4", "robots.example"])
def test_others_are_served_with_a_token_or_certificates_only(host: str, pem: Path) -> None:
    for tls in (None, tls_from(pem, None, None)):
        with pytest.raises(UserError, match="give a token .*or certificates .*or stay on 127.0.0.1"):
            Access(host, tls=tls)
    assert Access(host, TOKEN).in_the_clear
    assert not Access(host, TOKEN, tls_from(pem, None, None)).in_the_clear
    assert not Access(host, tls=tls_from(pem, None, pem)).in_the_clear
    assert Access("127.0.0.1").local
    assert Access("::1").local


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert token_from(None) == ""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert token_from(file) == TOKEN
    monkeypatch.setenv(VARIABLE, "another-token-of-it")
    assert (token_from(None), token_from(file)) == ("another-token-of-it", TOKEN)
    for bad in ("", "short", "with a blank in its midst", "unlöslich-unlöslich"):
        file.write_text(bad)
        monkeypatch.setenv(VARIABLE, bad)
        for where in (None, file):
            with pytest.raises(UserError, match="not a token of 16 or more letters") as said:
                token_from(where)
            assert not bad or bad not in str(said.value)
    with pytest.raises(UserError, match="nowhere: can't be read"):
        token_from(tmp_path / "nowhere")


def test_files_that_are_no_certificates_are_named(tmp_path: Path, pem: Path) -> None:
    (tmp_path / "no.pem").write_text("no")
    assert tls_from(None, None, None) is None
    for given, match in (
        ((None, pem, None), "--tls-key: needs --tls-cert"),
        ((None, None, pem), "--client-ca: needs --tls-cert"),
        ((tmp_path / "no.pem", None, None), "no.pem: no certificate with its key in PEM"),
        ((pem, None, tmp_path / "no.pem"), "no.pem: no certificates in PEM"),
        ((pem, None, tmp_path / "nowhere"), "nowhere: no certificates in PEM"),
    ):
        with pytest.raises(UserError, match=match):
            tls_from(*given)


def test_robots_show_a_certificate(pem: Path) -> None:
    """Mutual TLS: without one of the CA's there is no line at all."""
    knows = ssl.create_default_context(cafile=pem)
    with served(OnePolicy(Stub(), 0), access=Access(tls=tls_from(pem, None, pem))) as server:
        url = server.at.url.replace("127.0.0.1", "localhost")
        assert url.startswith("wss://")
        with pytest.raises((OSError, EOFError, WebSocketException)):
            Client(url, ssl=knows)
        knows.load_cert_chain(pem)
        with Client(url, ssl=knows) as robot:
            assert robot.ask()["actions"].shape == (2, 4)
