from pathlib import Path

import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import BadBundle, Bundle, load_bundle, save_bundle
from lwd_core.policies.keys import distrust, rotate, signing_key, trust, trusted_keys
from lwd_core.policies.registry import register
from lwd_core.policies.release import BadRelease, current, publish
from lwd_core.policies.resign import resign, signer
from storage_schemas.policy import SIGNATURE, Lineage, PolicyManifest
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
        policy_uri=bundle.uri, key=key, evidence={}, now_ns=1,
    )  # fmt: skip
    return lake, bundle


def test_a_key_can_go_once_everything_is_signed_anew(fleet: tuple[Lake, Bundle], tmp_path: Path) -> None:
    lake, bundle = fleet
    keys, releases = str(tmp_path / "keys"), str(tmp_path / "releases")
    (old,) = trusted_keys(keys)
    with pytest.raises(UserError, match="it signs here"):
        distrust(keys, old)
    new = rotate(keys)
    done = resign(lake, releases, signing_key(keys), trusted_keys(keys))
    assert done == [f"policy {bundle.policy_id}", "channel production"]
    assert resign(lake, releases, signing_key(keys), trusted_keys(keys)) == []
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
    keys, releases = str(tmp_path / "keys"), str(tmp_path / "releases")
    theirs = PolicyManifest({}, {}, (), {"mine": 1}, Lineage("sft", "c", 2, ()), "")
    planted = save_bundle(str(tmp_path / "policies"), theirs, {"w": torch.ones(1)}, signing_key(keys))
    before = Path(planted.uri, SIGNATURE).read_bytes()
    Path(bundle.uri, "manifest.json").write_bytes(Path(planted.uri, "manifest.json").read_bytes())
    rotate(keys)
    assert resign(lake, releases, signing_key(keys), trusted_keys(keys)) == ["channel production"]
    assert Path(planted.uri, SIGNATURE).read_bytes() == before


def test_a_channel_nobody_trusts_stops_it(fleet: tuple[Lake, Bundle], tmp_path: Path) -> None:
    lake, bundle = fleet
    strange = str(tmp_path / "strange")
    with pytest.raises(BadRelease, match="not trusted"):
        resign(lake, str(tmp_path / "releases"), signing_key(strange), trusted_keys(strange))
    assert load_bundle(bundle.uri, trusted_keys(str(tmp_path / "keys")))


def test_a_public_key_of_another_machine_can_be_trusted(tmp_path: Path) -> None:
    signing_key(str(tmp_path / "trainer"))
    (file,) = (tmp_path / "trainer" / "trusted").glob("*.pem")
    assert trust(str(tmp_path / "robot"), file.read_bytes()) == file.stem
    assert list(trusted_keys(str(tmp_path / "robot"))) == [file.stem]
    with pytest.raises(UserError, match="not a public key"):
        trust(str(tmp_path / "robot"), (tmp_path / "trainer" / "signing.pem").read_bytes())
