from pathlib import Path

import pytest
import torch

from lwd_core.fleet.channel import ReleasedPolicies
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import Bundle
from lwd_core.policies.inference import save_policy
from lwd_core.policies.keys import signing_key
from lwd_core.policies.registry import register
from lwd_core.policies.release import publish
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, Normaliser, PolicyConfig
from lwd_core.settings import Settings
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


def release(settings: Settings, made: Bundle, channel: Channel = PRODUCTION) -> None:
    lake = Lake.open(settings.lake, create=True)
    register(lake, made, now_ns=1)
    publish(
        lake,
        settings.releases,
        channel,
        policy_id=made.policy_id,
        policy_uri=made.uri,
        key=signing_key(settings.keys),
        evidence={},
        now_ns=7,
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
