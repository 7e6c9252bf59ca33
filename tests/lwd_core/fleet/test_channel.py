import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from lwd_core.fleet.channel import ReleasedPolicies
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import Bundle
from lwd_core.policies.inference import Policy, save_policy
from lwd_core.policies.keys import distrust, rotate, sign, signing_key, trust, trusted_keys
from lwd_core.policies.registry import register
from lwd_core.policies.release import publish, refresh
from lwd_core.policies.resign import resign
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, Normaliser, PolicyConfig
from lwd_core.settings import Settings
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import Lineage
from storage_schemas.vocabulary import Channel

PRODUCTION, CANARY = Channel.PRODUCTION, Channel.CANARY


def bundle(settings: Settings, number: int) -> Bundle:
    torch.manual_seed(number)
    field = FieldConfig(EncoderConfig(39), action_dim=4, chunk=5, hidden=16, layers=1)
    return save_policy(
        settings.policies,
        FlowPolicy(PolicyConfig(field, steps=2), Normaliser.identity(39, 4)),
        {"open the drawer": torch.zeros(384)},
        embodiments={"sawyer": {"state": 39, "action": 4}},
        config={},
        lineage=Lineage("sft", "c", number, ("d",)),
        key=signing_key(settings.keys),
    )


def release(settings: Settings, made: Bundle, channel: Channel = PRODUCTION, now_ns: int = 7) -> None:
    lake = Lake.open(settings.lake, create=True)
    register(lake, made, now_ns=1)
    publish(
        lake,
        settings.releases,
        channel,
        policy_id=made.policy_id,
        key=signing_key(settings.keys),
        evidence={},
        now_ns=now_ns,
    )


def test_robots_on_one_channel_share_one_copy_and_take_the_next(settings: Settings) -> None:
    first, second = bundle(settings, 1), bundle(settings, 2)
    release(settings, first)
    source = ReleasedPolicies(settings)
    held = source.newest(PRODUCTION, 10)
    assert held is not None
    assert (held.policy.policy_id, held.released_ns, held.loaded_ns) == (first.policy_id, 7, 10)
    assert source.newest(PRODUCTION, 20) is held
    release(settings, second)
    taken = source.newest(PRODUCTION, 30)
    assert taken is not None
    assert (taken.policy.policy_id, taken.loaded_ns) == (second.policy_id, 30)


def test_canary_robots_follow_production_until_there_is_a_canary(settings: Settings) -> None:
    first, second = bundle(settings, 1), bundle(settings, 2)
    release(settings, first)
    source = ReleasedPolicies(settings)
    assert source.newest(CANARY, 0) == source.newest(PRODUCTION, 0)
    release(settings, second, CANARY)
    canary, production = source.newest(CANARY, 0), source.newest(PRODUCTION, 0)
    assert canary is not None
    assert production is not None
    assert canary.policy.policy_id == second.policy_id
    assert production.policy.policy_id == first.policy_id


def test_an_empty_channel_gives_nothing(settings: Settings) -> None:
    assert ReleasedPolicies(settings).newest(PRODUCTION, 0) is None


def _touch_weights(settings: Settings, made: Bundle) -> None:
    path = Path(made.uri) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


def _touch_manifest(settings: Settings, made: Bundle) -> None:
    path = Path(made.uri) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"chunk":5', b'"chunk":4'))


def _touch_channel(settings: Settings, made: Bundle) -> None:
    path = Path(settings.releases) / "production.json"
    path.write_text(path.read_text().replace('"created_ns":7', '"created_ns":8'))


@pytest.mark.parametrize("sabotage", [_touch_weights, _touch_manifest, _touch_channel])
def test_a_release_that_does_not_verify_is_refused_and_the_robots_keep_what_they_have(
    settings: Settings, sabotage
) -> None:
    good, bad = bundle(settings, 1), bundle(settings, 2)
    release(settings, good)
    refused: list[str] = []
    source = ReleasedPolicies(settings, refused.append)
    source.newest(PRODUCTION, 0)
    release(settings, bad)
    sabotage(settings, bad)
    for _ in range(3):
        held = source.newest(PRODUCTION, 0)
        assert held is not None
        assert held.policy.policy_id == good.policy_id
    assert len(refused) == 1
    fresh = ReleasedPolicies(settings, refused.append)
    assert fresh.newest(PRODUCTION, 0) is None  # a robot that has nothing runs nothing


SECOND, DAY = 10**9, 86_400 * 10**9


def test_a_release_that_was_refused_is_fetched_more_and_more_seldom(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = bundle(settings, 1)
    release(settings, bad)
    _touch_weights(settings, bad)
    fetched: list[int] = []
    load = Policy.load
    monkeypatch.setattr(Policy, "load", lambda *a: fetched.append(1) or load(*a))
    told: list[str] = []
    robot = ReleasedPolicies(settings, told.append)
    for second in range(0, 3600, 2):
        assert running(robot, second * SECOND) is None
    assert len(fetched) == 9  # at once, after 1, 2, 4, 8 minutes, then every ten
    assert len(told) == 1
    good = bundle(settings, 2)
    release(settings, good, now_ns=8)
    assert running(robot, 3600 * SECOND) == good.policy_id  # the channel changed: at once


def file(settings: Settings, channel: Channel = PRODUCTION) -> Path:
    return Path(settings.releases, f"{channel}.json")


def renew(settings: Settings, now_ns: int) -> None:
    keys = settings.keys
    refresh(
        Lake.open(settings.lake),
        settings.releases,
        key=signing_key(keys),
        trusted=trusted_keys(keys),
        now_ns=now_ns,
    )


def running(source: ReleasedPolicies, now_ns: int = 10, channel: Channel = PRODUCTION) -> str | None:
    held = source.newest(channel, now_ns)
    return held and held.policy.policy_id


def test_an_older_release_put_back_is_refused_and_told_once_also_after_a_restart(settings: Settings) -> None:
    """The rollback attack of The Update Framework."""
    first, second = bundle(settings, 1), bundle(settings, 2)
    release(settings, first)
    old = file(settings).read_bytes()
    release(settings, second)
    told: list[str] = []
    robot = ReleasedPolicies(settings, told.append)
    assert running(robot) == second.policy_id
    file(settings).write_bytes(old)
    assert running(robot) == running(robot) == second.policy_id
    assert [("number 1" in line, "number 2 was seen" in line) for line in told] == [(True, True)]
    assert running(ReleasedPolicies(settings, told.append)) is None, "it remembers over a restart"
    renew(settings, 10)
    assert running(ReleasedPolicies(settings)) == running(robot) == second.policy_id


def test_what_nobody_renews_is_run_no_more(settings: Settings) -> None:
    """The freeze attack: newer files are kept from a robot, so what it holds runs out."""
    made = bundle(settings, 1)
    release(settings, made, now_ns=DAY)
    told: list[str] = []
    robot = ReleasedPolicies(settings, told.append)
    assert running(robot, 2 * DAY) == made.policy_id
    assert running(robot, 31 * DAY - 1) == made.policy_id
    assert running(robot, 31 * DAY) is None
    assert running(ReleasedPolicies(settings), 31 * DAY) is None
    assert ["expired" in line and "policy refresh" in line for line in told] == [True, True]
    renew(settings, 31 * DAY)
    held = robot.newest(PRODUCTION, 31 * DAY)
    assert held is not None
    assert (held.policy.policy_id, held.loaded_ns) == (made.policy_id, 2 * DAY), "it was not loaded again"
    assert running(robot, 60 * DAY) == made.policy_id


def test_a_file_of_an_older_version_is_followed_until_a_numbered_one_was_seen(settings: Settings) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    record = json.loads(file(settings).read_bytes())["release"]
    old = {k: v for k, v in record.items() if k not in ("number", "expires_ns")} | {"policy_uri": made.uri}
    signature = asdict(sign(canonical_json(old), signing_key(settings.keys)))
    unnumbered = canonical_json({"release": old, "signature": signature})
    numbered = file(settings).read_bytes()
    file(settings).write_bytes(unnumbered)
    for _ in range(2):
        assert running(ReleasedPolicies(settings), 10**30) == made.policy_id
    file(settings).write_bytes(numbered)
    assert running(ReleasedPolicies(settings)) == made.policy_id
    file(settings).write_bytes(unnumbered)
    assert running(ReleasedPolicies(settings)) is None


def test_a_revoked_key_is_trusted_no_more_without_a_restart(settings: Settings) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    told: list[str] = []
    robot = ReleasedPolicies(settings, told.append)
    assert running(robot) == made.policy_id
    (old,) = trusted_keys(settings.keys)
    public = Path(settings.keys, "trusted", f"{old}.pem").read_bytes()
    rotate(settings.keys)
    assert running(robot) == made.policy_id
    distrust(settings.keys, old)
    assert running(robot) is None
    assert old in told[0]
    assert "not trusted here" in told[1]
    # what is signed anew runs again
    trust(settings.keys, public)
    resign(
        Lake.open(settings.lake), settings, signing_key(settings.keys), trusted_keys(settings.keys), now_ns=9
    )
    distrust(settings.keys, old)
    assert running(robot) == made.policy_id


def test_a_key_file_half_copied_keeps_the_keys_there_were(settings: Settings) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    told: list[str] = []
    robot = ReleasedPolicies(settings, told.append)
    Path(settings.keys, "trusted", "new.pem").write_bytes(b"")
    assert running(robot) == made.policy_id
    assert ["new.pem: an empty file" in line for line in told] == [True]


def test_a_robot_that_cannot_remember_does_not_run(settings: Settings) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    Path(settings.keys, "seen.json").write_bytes(b"{")
    told: list[str] = []
    assert running(ReleasedPolicies(settings, told.append)) is None
    assert ["seen.json: can't be read" in line and "remove it" in line for line in told] == [True]


def test_a_channel_file_that_is_gone_is_told_and_the_policy_kept(settings: Settings) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    told: list[str] = []
    robot = ReleasedPolicies(settings, told.append)
    assert running(robot) == made.policy_id
    file(settings).unlink()
    assert running(robot) == made.policy_id
    assert ["its file is gone" in line for line in told] == [True]


def test_a_copied_home_runs_its_own_policies(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = bundle(settings, 1)
    release(settings, made)
    old = file(settings).read_bytes()
    release(settings, bundle(settings, 2))
    assert running(ReleasedPolicies(settings))
    copy = tmp_path_factory.mktemp("elsewhere") / "home"
    shutil.move(settings.home, copy)
    moved = Settings(home=str(copy))
    assert running(ReleasedPolicies(moved))
    file(moved).write_bytes(old)
    assert running(ReleasedPolicies(moved)) is None, "what was seen moved with the home"
