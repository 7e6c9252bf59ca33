"""A backbone is published once, fetched by digest, and refused where its bytes are others."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from lwd_core.errors import UserError
from lwd_core.policies import bases
from lwd_core.policies.bases import local_base, publish_base
from lwd_core.policies.bundle import BadBundle, load_bundle, save_bundle
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.storage.location import Location
from lwd_core.storage.location import open_location as on_disk
from storage_schemas.policy import BASE_MANIFEST, MANIFEST, Base, PolicyManifest
from tests.lwd_core.policies.test_bundle import manifest, weights

CONTENT = {"config.json": b"{}", "model.safetensors": b"w" * 100, "vlm/config.json": b"[]"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        (tmp_path / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "given" / name).write_bytes(data)
    return tmp_path / "given"


def files(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in CONTENT}


@pytest.fixture
def base() -> Base:
    return Base(
        "smolvla", {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}, "exact"
    )


def test_a_bundle_says_what_it_lacks_under_its_signature(tmp_path: Path, base: Base) -> None:
    keys, policies = str(tmp_path / "keys"), str(tmp_path / "p")
    saved = save_bundle(policies, manifest(base=base), weights(), signing_key(keys))
    loaded = load_bundle(saved.uri, trusted_keys(keys))
    assert loaded.manifest.base == base
    assert json.loads((Path(saved.uri) / MANIFEST).read_bytes())["format_version"] == 2
    other = replace(base, position_ids="skewed")
    assert other.base_id == base.base_id  # the same files, once
    again = save_bundle(policies, manifest(base=other), weights(), signing_key(keys))
    assert again.policy_id != saved.policy_id
    swapped = json.loads((Path(saved.uri) / MANIFEST).read_bytes())
    swapped["base"]["files"]["config.json"] = "0" * 64
    (Path(saved.uri) / MANIFEST).write_text(json.dumps(swapped))
    with pytest.raises(BadBundle, match="signature"):
        load_bundle(saved.uri, trusted_keys(keys))


def test_without_a_base_a_bundle_is_as_it_was() -> None:
    value = json.loads(manifest().to_bytes())
    assert value["format_version"] == 1
    assert "base" not in value
    assert PolicyManifest.from_dict(value) == manifest()


def test_a_base_is_stored_once_and_used_where_it_lies(tmp_path: Path, folder: Path, base: Base) -> None:
    policies = str(tmp_path / "p")
    place = Path(publish_base(policies, base, files(folder)))
    assert place == tmp_path / "p" / "bases" / base.base_id
    stamps = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    assert len(stamps) == len(CONTENT) + 1
    publish_base(policies, replace(base, position_ids="skewed"), files(folder))
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == stamps
    assert local_base(policies, base) == place


def test_what_is_cut_off_is_published_again(tmp_path: Path, folder: Path, base: Base) -> None:
    policies = str(tmp_path / "p")
    place = Path(publish_base(policies, base, files(folder)))
    (place / BASE_MANIFEST).unlink()
    (place / "model.safetensors").unlink()
    with pytest.raises(BadBundle, match="not there"):
        local_base(policies, base)
    publish_base(policies, base, files(folder))
    assert local_base(policies, base) == place


@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_other_bytes_are_refused_though_they_are_there(
    tmp_path: Path, folder: Path, base: Base, harm: str
) -> None:
    policies = str(tmp_path / "p")
    path = Path(publish_base(policies, base, files(folder))) / "model.safetensors"
    local_base(policies, base)
    path.unlink()
    if harm == "flipped":
        path.write_bytes(b"w" * 99 + b"x")
    with pytest.raises(BadBundle, match=r"model\.safetensors"):
        local_base(policies, base)


def test_a_file_that_changed_since_is_not_published(tmp_path: Path, folder: Path, base: Base) -> None:
    (folder / "config.json").write_bytes(b"{ }")
    with pytest.raises(UserError, match=r"config\.json: changed since"):
        publish_base(str(tmp_path / "p"), base, files(folder))
    with pytest.raises(BadBundle, match="not there"):
        local_base(str(tmp_path / "p"), base)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    """A store without folders or renames, in memory."""
    store = MemoryFileSystem()
    monkeypatch.setattr(
        bases, "open_location", lambda root: Location(root, store) if "://" in root else on_disk(root)
    )
    return "memory://lake"


def test_from_a_bucket_it_is_fetched_once_whole(
    tmp_path: Path, folder: Path, base: Base, bucket: str
) -> None:
    policies, zone = f"{bucket}/policies", tmp_path / "zone"
    with pytest.raises(BadBundle, match="not there"):
        local_base(policies, base, zone)
    publish_base(policies, base, files(folder))
    kept = local_base(policies, base, zone)
    assert kept == zone / base.base_id
    assert {name: (kept / name).read_bytes() for name in CONTENT} == CONTENT
    assert [path.name for path in zone.iterdir()] == [base.base_id]
    wrong = replace(base, files={**base.files, "model.safetensors": "0" * 64})
    for name, data in CONTENT.items():  # a store that lies about the bytes
        with bases.open_location(policies).write("bases", wrong.base_id, name) as file:
            file.write(data)
    with bases.open_location(policies).write("bases", wrong.base_id, BASE_MANIFEST) as file:
        file.write(b"{}")
    with pytest.raises(BadBundle, match=r"model\.safetensors: the bytes"):
        local_base(policies, wrong, zone)
    assert [path.name for path in zone.iterdir()] == [base.base_id]
