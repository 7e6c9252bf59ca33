import errno
import os
import stat

import pytest

from lwd_core.errors import StorageError, UserError
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


@pytest.mark.parametrize("content", [b"", b"\n", b"-----BEGIN", b"\xff\x00"])
@pytest.mark.parametrize("which", ["signing.pem", "trusted"])
def test_a_broken_key_file_is_named_with_its_remedy(tmp_path, which, content):
    name = rotate(str(tmp_path))
    path = tmp_path / which if which.endswith(".pem") else tmp_path / which / f"{name}.pem"
    path.write_bytes(content)
    read = signing_key if which.endswith(".pem") else trusted_keys
    with pytest.raises(UserError, match=rf"{path}: (an empty file|not an ed25519 p).*; ") as caught:
        read(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_full_disk_leaves_the_keys_as_they_were(tmp_path, monkeypatch, failing):
    rotate(str(tmp_path))
    before = signing_key(str(tmp_path)).private_bytes_raw()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(os, "fchmod", full)  # before the first byte
    with pytest.raises(StorageError, match="No space left"):
        rotate(str(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert signing_key(str(tmp_path)).private_bytes_raw() == before
