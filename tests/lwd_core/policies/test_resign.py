import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import BadBundle, Bundle, load_bundle, save_bundle
from lwd_core.policies.channel_file import BadRelease, current
from lwd_core.policies.keys import distrust, rotate, signing_key, trust, trusted_keys
from lwd_core.policies.registry import register
from lwd_core.policies.release import publish
from lwd_core.policies.resign import resign, signer
from lwd_core.settings import Settings
from storage_schemas.policy import SIGNATURE, Lineage, PolicyManifest
from storage_schemas.tables import POLICIES
from storage_schemas.vocabulary import Channel


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[Lake, Bundle]:
    """A registered policy on the production channel, both signed by the first key."""
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    key = signing_key(str(tmp_path / "keys"))
    manifest = PolicyManifest({}, {}, (), {}, Lineage("sft", "c", 1, ()), "")
    bundle = save_bundle(str(tmp_path / "policies"), manifest, {"w": torch.zeros(1)}, key)
    register(lake, bundle, now_ns=1)
    publish(
        lake, str(tmp_path / "releases"), Channel.PRODUCTION, policy_id=bundle.policy_id,
        key=key, evidence={}, now_ns=1,
    )  # fmt: skip
    return lake, bundle


def signed(lake: Lake, home: Path) -> list[str]:
    settings = Settings(home=str(home))
    found = resign(lake, settings, signing_key(settings.keys), trusted_keys(settings.keys), now_ns=1)
    assert found.left == []
    return found.done


def test_a_key_can_go_once_everything_is_signed_anew(fleet: tuple[Lake, Bundle], tmp_path: Path) -> None:
    lake, bundle = fleet
    keys, releases = str(tmp_path / "keys"), str(tmp_path / "releases")
    (old,) = trusted_keys(keys)
    with pytest.raises(UserError, match="it signs here"):
        distrust(keys, old)
    new = rotate(keys)
    done = signed(lake, tmp_path)
    assert done == [f"policy {bundle.policy_id}", "channel production"]
    assert signed(lake, tmp_path) == []
    assert distrust(keys, old[:6]) == old
    assert set(trusted_keys(keys)) == {new}
    assert load_bundle(bundle.uri, trusted_keys(keys)).policy_id == bundle.policy_id
    held = current(releases, Channel.PRODUCTION, trusted_keys(keys))
    assert held is not None
    assert held.policy_id == bundle.policy_id
    assert signer(releases, Channel.PRODUCTION) == new
    assert lake.read("releases").num_rows == 1, "a signature is no event on a channel"


def test_without_signing_anew_the_old_key_takes_everything_with_it(
    fleet: tuple[Lake, Bundle], tmp_path: Path
) -> None:
    _, bundle = fleet
    keys = str(tmp_path / "keys")
    (old,) = trusted_keys(keys)
    rotate(keys)
    distrust(keys, old)
    with pytest.raises(BadBundle, match="not trusted here"):
        load_bundle(bundle.uri, trusted_keys(keys))


def test_what_the_lake_does_not_know_is_not_signed(fleet: tuple[Lake, Bundle], tmp_path: Path) -> None:
    """A thief with the old key: a policy of his own, and other bytes under an id of the table."""
    lake, bundle = fleet
    keys = str(tmp_path / "keys")
    theirs = PolicyManifest({}, {}, (), {"mine": 1}, Lineage("sft", "c", 2, ()), "")
    planted = save_bundle(str(tmp_path / "policies"), theirs, {"w": torch.ones(1)}, signing_key(keys))
    before = Path(planted.uri, SIGNATURE).read_bytes()
    Path(bundle.uri, "manifest.json").write_bytes(Path(planted.uri, "manifest.json").read_bytes())
    rotate(keys)
    assert signed(lake, tmp_path) == ["channel production"]
    assert Path(planted.uri, SIGNATURE).read_bytes() == before


def test_a_channel_nobody_trusts_stops_it(fleet: tuple[Lake, Bundle], tmp_path: Path) -> None:
    lake, bundle = fleet
    strange, settings = str(tmp_path / "strange"), Settings(home=str(tmp_path))
    with pytest.raises(BadRelease, match="not trusted"):
        resign(lake, settings, signing_key(strange), trusted_keys(strange), now_ns=1)
    assert load_bundle(bundle.uri, trusted_keys(str(tmp_path / "keys")))


def test_a_public_key_of_another_machine_can_be_trusted(tmp_path: Path) -> None:
    signing_key(str(tmp_path / "trainer"))
    (file,) = (tmp_path / "trainer" / "trusted").glob("*.pem")
    assert trust(str(tmp_path / "robot"), file.read_bytes()) == file.stem
    assert list(trusted_keys(str(tmp_path / "robot"))) == [file.stem]
    with pytest.raises(UserError, match="not a public key"):
        trust(str(tmp_path / "robot"), (tmp_path / "trainer" / "signing.pem").read_bytes())


@pytest.mark.parametrize("absolute", [False, True])
def test_a_copied_home_signs_its_own_policies_anew_and_not_the_original_s(
    fleet: tuple[Lake, Bundle], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, absolute: bool
) -> None:
    lake, bundle = fleet
    if absolute:  # as older versions wrote it
        rows = lake.read("policies").to_pylist()
        rows[0]["uri"] = bundle.uri
        lake.replace(
            "policies", pa.Table.from_pylist(rows, schema=POLICIES.schema), {"policy_id": [bundle.policy_id]}
        )
    original = tree(tmp_path)
    copy = Path(shutil.copytree(tmp_path, tmp_path_factory.mktemp("copied") / "home"))
    new = rotate(str(copy / "keys"))
    done = signed(Lake.open(str(copy / "lake")), copy)
    assert done == [f"policy {bundle.policy_id}", "channel production"]
    assert tree(tmp_path) == original
    for old in set(trusted_keys(str(copy / "keys"))) - {new}:
        distrust(str(copy / "keys"), old)
    assert load_bundle(str(copy / "policies" / bundle.policy_id), trusted_keys(str(copy / "keys")))


def test_a_policy_of_another_home_is_named_and_left(
    fleet: tuple[Lake, Bundle], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake, bundle = fleet
    rows = lake.read("policies").to_pylist()
    rows[0]["uri"] = bundle.uri
    lake.replace(
        "policies", pa.Table.from_pylist(rows, schema=POLICIES.schema), {"policy_id": [bundle.policy_id]}
    )
    copy = Path(shutil.copytree(tmp_path, tmp_path_factory.mktemp("bare") / "home"))
    shutil.rmtree(copy / "policies")
    original = tree(tmp_path)
    rotate(str(copy / "keys"))
    settings = Settings(home=str(copy))
    keys = settings.keys
    found = resign(Lake.open(settings.lake), settings, signing_key(keys), trusted_keys(keys), now_ns=1)
    assert found.done == ["channel production"]
    assert [bundle.uri in line and "outside of" in line for line in found.left] == [True]
    assert tree(tmp_path) == original


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
