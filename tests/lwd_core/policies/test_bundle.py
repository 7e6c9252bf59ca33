import json
from pathlib import Path

import pytest
import torch

from lwd_core.policies.bundle import BadBundle, load_bundle, save_bundle
from lwd_core.policies.keys import signing_key, trusted_keys
from storage_schemas.policy import Lineage, PolicyManifest


@pytest.fixture
def keys(tmp_path):
    return str(tmp_path / "keys")


def manifest(**changes):
    values = {
        "network": {"width": 8},
        "embodiments": {"arm": {"state": 3, "action": 2}},
        "instructions": ("open the drawer",),
        "config": {"lr": 1e-4},
        "lineage": Lineage("sft", "c" * 8, 100, ("d" * 8,)),
        "weights_sha256": "",
    }
    return PolicyManifest(**(values | changes))


def weights():
    return {"b": torch.arange(4.0), "a": torch.ones(2, 3)}


def test_what_is_saved_is_loaded(tmp_path, keys):
    saved = save_bundle(str(tmp_path / "p"), manifest(), weights(), signing_key(keys))
    loaded = load_bundle(saved.uri, trusted_keys(keys))
    assert loaded.policy_id == saved.policy_id
    assert loaded.manifest == saved.manifest
    assert {k: v.tolist() for k, v in loaded.weights.items()} == {k: v.tolist() for k, v in weights().items()}


def test_the_id_names_the_content(tmp_path, keys):
    key = signing_key(keys)
    root = str(tmp_path / "p")
    once = save_bundle(root, manifest(), weights(), key)
    again = save_bundle(root, manifest(), dict(reversed(weights().items())), key)
    other = save_bundle(root, manifest(), weights() | {"a": torch.zeros(2, 3)}, key)
    assert once.policy_id == again.policy_id != other.policy_id


@pytest.mark.parametrize("part", ["manifest.json", "weights.safetensors", "signature.json"])
def test_a_changed_byte_is_refused(tmp_path, keys, part):
    saved = save_bundle(str(tmp_path / "p"), manifest(), weights(), signing_key(keys))
    path = Path(saved.uri) / part
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadBundle, match="policy|bytes|signature|key"):
        load_bundle(saved.uri, trusted_keys(keys))


@pytest.mark.parametrize("part", ["manifest.json", "weights.safetensors", "signature.json"])
def test_a_missing_part_is_named(tmp_path, keys, part):
    saved = save_bundle(str(tmp_path / "p"), manifest(), weights(), signing_key(keys))
    (Path(saved.uri) / part).unlink()
    with pytest.raises(BadBundle, match=part):
        load_bundle(saved.uri, trusted_keys(keys))


def test_a_stranger_cannot_sign(tmp_path, keys):
    saved = save_bundle(str(tmp_path / "p"), manifest(), weights(), signing_key(str(tmp_path / "stranger")))
    signing_key(keys)
    with pytest.raises(BadBundle, match="not trusted"):
        load_bundle(saved.uri, trusted_keys(keys))


def test_a_renamed_bundle_is_refused(tmp_path, keys):
    saved = save_bundle(str(tmp_path / "p"), manifest(), weights(), signing_key(keys))
    moved = Path(saved.uri).rename(tmp_path / "p" / "other")
    with pytest.raises(BadBundle, match="renamed"):
        load_bundle(str(moved), trusted_keys(keys))


def test_a_newer_format_is_refused_by_name(tmp_path, keys):
    saved = save_bundle(str(tmp_path / "p"), manifest(format_version=99), weights(), signing_key(keys))
    assert json.loads((Path(saved.uri) / "manifest.json").read_text())["format_version"] == 99
    with pytest.raises(BadBundle, match="99.*upgrade"):
        load_bundle(saved.uri, trusted_keys(keys))
