import shutil
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import save_bundle
from lwd_core.policies.channel_file import BadRelease, current
from lwd_core.policies.gate import gate, success_rate
from lwd_core.policies.intervals import difference, wilson
from lwd_core.policies.keys import rotate, sign, signing_key, trusted_keys
from lwd_core.policies.registry import address, find, register
from lwd_core.policies.release import disagreement, publish, recorded, refresh, rollback
from lwd_core.policies.scenes import Purpose, scene_seeds
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import Lineage, PolicyManifest
from storage_schemas.tables import EVALUATIONS, RELEASES
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
            key=signing_key(self.keys),
            evidence={"why": "test"},
            now_ns=now_ns,
        )

    def current(self):
        return current(self.releases, Channel.PRODUCTION, trusted_keys(self.keys))

    def refresh(self, now_ns=1):
        return refresh(
            self.lake,
            self.releases,
            key=signing_key(self.keys),
            trusted=trusted_keys(self.keys),
            now_ns=now_ns,
        )

    def wrong(self, now_ns=1):
        trusted = trusted_keys(self.keys)
        return disagreement(self.lake, self.releases, Channel.PRODUCTION, trusted, now_ns)

    def rollback(self):
        return rollback(
            self.lake,
            self.releases,
            Channel.PRODUCTION,
            key=signing_key(self.keys),
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
    assert find(fleet.lake, bundle.policy_id[:6])["uri"] == bundle.policy_id
    with pytest.raises(UserError, match="no such policy"):
        find(fleet.lake, "zz")


DAY = 86_400 * 10**9


def test_numbers_grow_whatever_happens_on_a_channel(fleet):
    a, b = fleet.policy(1), fleet.policy(2)
    made = [fleet.publish(a), fleet.publish(b), fleet.rollback(), *fleet.refresh(), fleet.publish(b)]
    assert [release.number for release in made] == [1, 2, 9 // 10**9 + 3, 4, 5]
    assert recorded(fleet.lake, Channel.PRODUCTION) == fleet.current() == made[-1]
    assert fleet.wrong() is None


def test_a_number_is_the_second_it_was_given_at_so_that_a_restored_lake_gives_higher_ones(fleet):
    bundle = fleet.policy(1)
    assert fleet.publish(bundle, now_ns=7 * DAY).number == 7 * 86_400
    assert fleet.refresh(now_ns=7 * DAY)[0].number == 7 * 86_400 + 1


def test_signing_anew_extends_and_is_no_event(fleet):
    first = fleet.publish(fleet.policy(1), now_ns=DAY)
    assert first.expires_ns == 31 * DAY
    assert fleet.wrong(31 * DAY - 1) is None
    assert "expired on 1970-02-01" in fleet.wrong(31 * DAY)
    (again,) = fleet.refresh(now_ns=31 * DAY)
    assert (again.release_id, again.created_ns) == (first.release_id, first.created_ns)
    assert (again.expires_ns, fleet.wrong(31 * DAY)) == (61 * DAY, None)
    rows = fleet.lake.read("releases").to_pylist()
    assert [(r["number"], r["evidence"]) for r in rows] == [(again.number, '{"why":"test"}')]


def test_a_file_that_says_something_else_than_the_table_is_named_and_mended(fleet):
    path = Path(fleet.releases) / "production.json"
    first = fleet.publish(fleet.policy(1))
    old = path.read_bytes()
    second = fleet.publish(fleet.policy(2))
    path.write_bytes(old)
    assert f"holds release {first.release_id} (number 1), the table says {second.release_id}" in fleet.wrong()
    (mended,) = fleet.refresh()
    assert (mended.release_id, mended.number, fleet.wrong()) == (second.release_id, 3, None)
    for content, said in ((None, "no file"), (b"[]", "no release record"), (b"\xff", "no release record")):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert said in fleet.wrong()
        fleet.refresh()
        assert fleet.wrong() is None


def test_a_file_newer_than_the_table_is_left_for_a_person(fleet, tmp_path):
    fleet.publish(fleet.policy(1))
    other = Fleet(Lake.open(str(tmp_path / "restored"), create=True), tmp_path)
    assert "the table has none" in other.wrong()
    other.publish(other.policy(2))
    fleet.publish(fleet.policy(3))
    before = (Path(fleet.releases) / "production.json").read_bytes()
    with pytest.raises(BadRelease, match=r"number 2.*restored from before"):
        other.refresh()
    assert (Path(fleet.releases) / "production.json").read_bytes() == before


def test_a_file_of_an_older_version_is_number_nought_and_never_expires(fleet):
    bundle = fleet.policy(1)
    record = {
        "release_id": "r", "channel": "production", "policy_id": bundle.policy_id,
        "policy_uri": bundle.uri, "parent": None, "created_ns": 1,
    }  # fmt: skip
    row = {k: v for k, v in record.items() if k != "policy_uri"} | {"state": "production", "evidence": "{}"}
    fleet.lake.append("releases", pa.Table.from_pylist([row], schema=RELEASES.schema))
    signature = asdict(sign(canonical_json(record), signing_key(fleet.keys)))
    path = Path(fleet.releases) / "production.json"
    path.parent.mkdir()
    path.write_bytes(canonical_json({"release": record, "signature": signature}))
    held = fleet.current()
    assert (held.number, held.expires, fleet.wrong(10**30)) == (0, "never", None)
    assert fleet.publish(bundle).number == 0
    assert [release.number for release in fleet.refresh()] == [1]
    assert fleet.publish(fleet.policy(2)).parent == "r"


def test_a_policy_is_found_in_its_own_home_only(fleet, tmp_path):
    bundle = fleet.policy(1)
    row = find(fleet.lake, bundle.policy_id)
    assert address(fleet.policies, row) == bundle.uri
    assert address(fleet.policies, {**row, "uri": bundle.uri}) == bundle.uri  # as older versions wrote it
    copy = shutil.copytree(fleet.policies, tmp_path / "copy" / "policies")
    assert address(str(copy), {**row, "uri": bundle.uri}) == str(copy / bundle.policy_id)
    with pytest.raises(UserError, match=rf"lies at {bundle.uri}, outside of .*empty; copy the folder"):
        address(str(tmp_path / "empty"), {**row, "uri": bundle.uri})


def evaluated(lake, policy_id, successes, trials, purpose=Purpose.SELECTION, words=None):
    rows = [
        {
            "policy_id": policy_id,
            "task": "t",
            "seed": seed,
            "success": i < successes,
            "steps": 9,
            "created_ns": 1,
            "words": words,
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


@pytest.mark.parametrize("text", ["", "null", "[" * 100_000, '{"number": 1e400}'])
def test_a_channel_file_of_anything_is_a_bad_release(tmp_path, text):
    (tmp_path / "production.json").write_text(text)
    with pytest.raises(BadRelease, match="no release record"):
        current(str(tmp_path), Channel.PRODUCTION, {})


def test_the_gate_compares_what_was_told_alike(lake):
    evaluated(lake, "old", 90, 100)
    evaluated(lake, "new", 10, 100, words="unseen")
    assert "like this" in gate(lake, "new", "old").reason
    evaluated(lake, "newer", 2, 100, words="unseen")
    assert not gate(lake, "newer", "new").passed
    evaluated(lake, "said", 10, 100, words="usual")  # rows of before say nothing, and mean that
    assert not gate(lake, "said", "old").passed
