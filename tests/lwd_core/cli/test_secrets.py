"""Secrets come from the environment and go nowhere: not into words, not into files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lwd_core.lake.store import Lake
from lwd_core.policies.keys import key_id, trust
from lwd_core.settings import Settings
from tests.lwd_core.labels.conftest import episode_rows

STORE = "a-secret-of-the-store"


@pytest.fixture
def secret(tmp_path: Path) -> tuple[dict[str, str], list[bytes]]:
    """An environment with secrets, and the bytes that may appear nowhere."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    settings = Settings(home=str(tmp_path / "home"))
    assert trust(settings.keys, public) == key_id(key.public_key())
    Lake.open(settings.lake, create=True).append("episodes", episode_rows(2))
    environment = os.environ | {
        "LWD_HOME": str(tmp_path / "home"),
        "LWD_SIGNING_KEY": pem,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": STORE,
        "LWD_S3_ENDPOINT": "http://127.0.0.1:9",
    }
    return environment, [pem.splitlines()[1].encode(), STORE.encode()]


@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "--json"),
        ("keys", "list", "--json"),
        ("keys", "rotate"),
        ("policy", "status"),
        ("sql", "SELECT getenv('AWS_SECRET_ACCESS_KEY') FROM episodes"),
        ("sql", "SELECT * FROM duckdb_settings() UNION ALL SELECT * FROM duckdb_settings()"),
        ("sql", "SELECT * FROM duckdb_secrets()"),
        ("ingest", "s3://bucket/logs"),
    ],
    ids=" ".join,
)
def test_no_command_repeats_a_secret(
    secret: tuple[dict[str, str], list[bytes]], words: tuple[str, ...], tmp_path: Path
) -> None:
    environment, hidden = secret
    done = subprocess.run(
        [Path(sys.executable).with_name("lwd"), *words],
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert not [s for s in hidden if s in done.stdout + done.stderr]
    assert b"Traceback" not in done.stderr, done.stderr.decode()[-2000:]
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not [p for p in files if any(s in p.read_bytes() for s in hidden)]


def test_settings_have_no_field_for_a_secret() -> None:
    assert not [
        name for name in Settings.model_fields if any(w in name for w in ("secret", "password", "token"))
    ]
