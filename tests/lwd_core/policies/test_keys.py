import os
import stat

import pytest

from lwd_core.errors import UserError
from lwd_core.policies.keys import Signature, rotate, sign, signing_key, trusted_keys, verify


def test_a_signature_holds_for_its_bytes_only(tmp_path):
    key = signing_key(str(tmp_path))
    trusted = trusted_keys(str(tmp_path))
    signature = sign(b"policy", key)
    assert verify(b"policy", signature, trusted) is None
    assert "does not fit" in verify(b"another", signature, trusted)
    assert "does not fit" in verify(b"policy", Signature(signature.key_id, "zz"), trusted)


def test_an_unknown_key_is_named(tmp_path):
    signature = sign(b"policy", signing_key(str(tmp_path / "a")))
    reason = verify(b"policy", signature, trusted_keys(str(tmp_path / "b")))
    assert signature.key_id in reason


def test_rotation_keeps_what_the_old_key_signed(tmp_path):
    old = sign(b"policy", signing_key(str(tmp_path)))
    name = rotate(str(tmp_path))
    new = sign(b"policy", signing_key(str(tmp_path)))
    trusted = trusted_keys(str(tmp_path))
    assert new.key_id == name != old.key_id
    assert verify(b"policy", old, trusted) is None
    assert verify(b"policy", new, trusted) is None


def test_the_private_key_is_for_its_owner_only(tmp_path):
    signing_key(str(tmp_path))
    assert stat.S_IMODE(os.stat(tmp_path / "signing.pem").st_mode) == 0o600


def test_a_bad_key_in_the_environment_is_refused_without_repeating_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LWD_SIGNING_KEY", "-----BEGIN PRIVATE KEY----- secret")
    with pytest.raises(UserError, match="LWD_SIGNING_KEY") as caught:
        signing_key(str(tmp_path))
    assert "secret" not in str(caught.value)
