from pathlib import Path

import pyarrow as pa
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.fleet.seeds import Purpose, scene_seeds
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import save_bundle
from lwd_core.policies.gate import gate, success_rate
from lwd_core.policies.intervals import difference, wilson
from lwd_core.policies.keys import rotate, signing_key, trusted_keys
from lwd_core.policies.registry import find, register
from lwd_core.policies.release import BadRelease, current, publish, rollback
from storage_schemas.policy import Lineage, PolicyManifest
from storage_schemas.tables import EVALUATIONS
from storage_schemas.vocabulary import Channel


@pytest.fixture
def lake(tmp_path):
    return Lake.open(str(tmp_path / "lake"), create=True)


class Fleet:
    """A lake with keys and channels, in which policies are made by number."""

    def __init__(self, lake, root):
        self.lake, self.keys, self.releases = lake, str(root / "keys"), str(root / "releases")
        self.policies = str(root / "policies")

    def policy(self, number):
        lineage = Lineage("sft", "c", number, ("d",))
        manifest = PolicyManifest({}, {}, (), {}, lineage, "")
        bundle = save_bundle(
            self.policies, manifest, {"w": torch.tensor([float(number)])}, signing_key(self.keys)
        )
        register(self.lake, bundle, now_ns=number)
        return bundle

    def publish(self, bundle, now_ns=1):
        return publish(
            self.lake,
            self.releases,
            Channel.PRODUCTION,
            policy_id=bundle.policy_id,
            policy_uri=bundle.uri,
            key=signing_key(self.keys),
            evidence={"why": "test"},
            now_ns=now_ns,
        )

    def current(self):
        return current(self.releases, Channel.PRODUCTION, trusted_keys(self.keys))

    def rollback(self):
        return rollback(
            self.lake,
            self.releases,
            Channel.PRODUCTION,
            key=signing_key(self.keys),
            trusted=trusted_keys(self.keys),
            evidence={"success": 0.1},
            now_ns=9,
        )


@pytest.fixture
def fleet(lake, tmp_path):
    return Fleet(lake, tmp_path)


def test_an_empty_channel_holds_nothing(fleet):
    signing_key(fleet.keys)
    assert fleet.current() is None


def test_a_release_names_its_parent_and_supersedes_it(fleet):
    a, b = fleet.policy(1), fleet.policy(2)
    first = fleet.publish(a)
    second = fleet.publish(b, now_ns=2)
    assert fleet.current() == second
    assert (second.policy_id, second.parent) == (b.policy_id, first.release_id)
    states = fleet.lake.sql("SELECT release_id, state FROM releases ORDER BY release_id, state").to_pylist()
    assert {(s["release_id"], s["state"]) for s in states} == {
        (first.release_id, "production"),
        (first.release_id, "superseded"),
        (second.release_id, "production"),
    }


def test_publishing_again_changes_nothing(fleet):
    bundle = fleet.policy(1)
    first = fleet.publish(bundle)
    version = fleet.lake.version("releases")
    assert fleet.publish(bundle, now_ns=7) == first
    assert fleet.lake.version("releases") == version


def test_rolling_back_twice_goes_back_twice(fleet):
    a, b, c = (fleet.policy(i) for i in range(3))
    for bundle in (a, b, c):
        fleet.publish(bundle)
    assert fleet.rollback().policy_id == b.policy_id
    assert fleet.rollback().policy_id == a.policy_id
    assert fleet.current().policy_id == a.policy_id
    with pytest.raises(UserError, match="nothing to roll back to"):
        fleet.rollback()


def test_a_channel_file_that_was_touched_is_refused(fleet):
    fleet.publish(fleet.policy(1))
    path = Path(fleet.releases) / "production.json"
    path.write_text(path.read_text().replace('"created_ns":1', '"created_ns":2'))
    with pytest.raises(BadRelease, match="does not fit"):
        fleet.current()
    path.write_text("{")
    with pytest.raises(BadRelease, match="no release record"):
        fleet.current()


def test_a_release_moved_to_another_channel_is_refused(fleet):
    fleet.publish(fleet.policy(1))
    folder = Path(fleet.releases)
    (folder / "production.json").rename(folder / "canary.json")
    with pytest.raises(BadRelease, match="moved"):
        current(fleet.releases, Channel.CANARY, trusted_keys(fleet.keys))


def test_a_rotated_key_takes_over(fleet):
    fleet.publish(fleet.policy(1))
    rotate(fleet.keys)
    second = fleet.publish(fleet.policy(2))
    assert fleet.current() == second


def test_registering_twice_is_one_row_and_prefixes_find_it(fleet):
    bundle = fleet.policy(1)
    register(fleet.lake, bundle, now_ns=8)
    assert fleet.lake.read("policies").num_rows == 1
    assert find(fleet.lake, bundle.policy_id[:6])["uri"] == bundle.uri
    with pytest.raises(UserError, match="no such policy"):
        find(fleet.lake, "zz")


def evaluated(lake, policy_id, successes, trials, purpose=Purpose.SELECTION):
    rows = [
        {
            "policy_id": policy_id,
            "task": "t",
            "seed": seed,
            "success": i < successes,
            "steps": 9,
            "created_ns": 1,
        }
        for i, seed in enumerate(scene_seeds(purpose, trials))
    ]
    lake.append("evaluations", pa.Table.from_pylist(rows, schema=EVALUATIONS.schema))


@pytest.mark.parametrize(("successes", "passes"), [(95, True), (74, True), (60, False)])
def test_the_gate_stops_what_is_clearly_worse(lake, successes, passes):
    evaluated(lake, "old", 80, 100)
    evaluated(lake, "new", successes, 100)
    verdict = gate(lake, "new", "old")
    assert verdict.passed is passes
    assert "new" not in verdict.reason
    assert verdict.evidence["candidate"]["trials"] == 100


def test_the_gate_makes_nothing_of_a_few_episodes(lake):
    evaluated(lake, "old", 4, 4)
    evaluated(lake, "new", 2, 4)
    assert gate(lake, "new", "old").passed
    evaluated(lake, "bad", 0, 20)
    assert not gate(lake, "bad", "old").passed


def test_the_difference_is_the_textbook_interval():
    # Newcombe 1998, part II, table II, example (a), method 10
    low, high = difference(wilson(56, 70), wilson(48, 80))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    assert difference(wilson(0, 0), wilson(1, 2)) == (-1.0, 1.0)


def test_the_gate_does_not_look_at_reported_scenes(lake):
    evaluated(lake, "old", 90, 100)
    evaluated(lake, "new", 10, 100)
    evaluated(lake, "new", 100, 100, Purpose.EVALUATION)
    assert not gate(lake, "new", "old").passed
    assert success_rate(lake, "new").rate == 1
    evaluated(lake, "other", 100, 100, Purpose.EVALUATION)
    assert not gate(lake, "other", "old").passed


def test_the_gate_needs_evaluations(lake):
    assert not gate(lake, "never", None).passed
    evaluated(lake, "new", 1, 10)
    assert gate(lake, "new", None).passed


def test_wilson_is_the_textbook_interval():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148
    assert (round(wilson(81, 263).low, 4), round(wilson(81, 263).high, 4)) == (0.2553, 0.3662)
    assert (round(wilson(15, 148).low, 4), round(wilson(15, 148).high, 4)) == (0.0624, 0.1605)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
