from dataclasses import replace

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.policies.bundle import BadBundle, load_bundle, save_bundle
from lwd_core.policies.inference import Policy, load_policy, save_policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, Normaliser, PolicyConfig
from storage_schemas.policy import Lineage

TEXTS = {"open the drawer": torch.randn(384), "press the button": torch.randn(384)}


@pytest.fixture
def keys(tmp_path):
    return str(tmp_path / "keys")


def model():
    torch.manual_seed(0)
    config = PolicyConfig(FieldConfig(EncoderConfig(6), action_dim=2, chunk=3, hidden=16, layers=2), steps=4)
    return FlowPolicy(
        config, Normaliser(torch.zeros(6), torch.ones(6), torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 1.0]))
    )


ARM = {"arm": {"state": 6, "action": 2}}


def saved(tmp_path, keys, embodiments=ARM):
    return save_policy(
        str(tmp_path / "policies"),
        model(),
        TEXTS,
        embodiments=embodiments,
        config={},
        lineage=Lineage("sft", "c", 1, ("d",)),
        key=signing_key(keys),
    )


def test_a_loaded_policy_acts_as_the_trained_one(tmp_path, keys):
    policy = Policy.load(saved(tmp_path, keys).uri, trusted_keys(keys))
    states = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    texts = ["press the button"] * 5
    chunks = policy.act(states, texts, np.random.default_rng(2))
    noise = np.random.default_rng(2).standard_normal((5, 3, 2), dtype=np.float32)
    expected = model()(
        torch.from_numpy(states), torch.stack([TEXTS[t] for t in texts]), torch.from_numpy(noise)
    ).detach()
    assert chunks.shape == (5, policy.chunk, 2)
    np.testing.assert_allclose(chunks, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (chunks >= np.array([-2, 0]) - 1e-6).all()
    assert (chunks <= np.array([2, 1]) + 1e-6).all()


def test_the_same_generator_gives_the_same_actions(tmp_path, keys):
    policy = Policy.load(saved(tmp_path, keys).uri, trusted_keys(keys))
    states, texts = np.zeros((2, 6), np.float32), ["open the drawer"] * 2
    once, again, other = (policy.act(states, texts, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (once == again).all()
    assert (once != other).any()


def test_a_state_of_another_robot_is_refused(tmp_path, keys):
    policy = Policy.load(saved(tmp_path, keys).uri, trusted_keys(keys))
    with pytest.raises(UserError, match="6 numbers, got 7"):
        policy.act(np.zeros((1, 7), np.float32), ["open the drawer"], np.random.default_rng(0))


def test_a_narrower_robot_gets_actions_of_its_own_width(tmp_path, keys):
    both = {**ARM, "finger": {"state": 4, "action": 1}}
    policy = Policy.load(saved(tmp_path, keys, both).uri, trusted_keys(keys))
    states, texts = np.random.default_rng(1).normal(size=(5, 4)), ["open the drawer"] * 5
    chunks = policy.act(states, texts, np.random.default_rng(2))
    assert chunks.shape == (5, 3, 1)
    noise = np.random.default_rng(2).standard_normal((5, 3, 2), dtype=np.float32)
    padded = torch.zeros(5, 6)
    padded[:, :4] = torch.from_numpy(states)
    told, mask = torch.stack([TEXTS[t] for t in texts]), torch.tensor([[1.0, 0.0]] * 5)
    expected = model()(padded, told, torch.from_numpy(noise), mask).detach()[..., :1]
    np.testing.assert_allclose(chunks, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert policy.act(np.zeros(6), "open the drawer").shape == (3, 2)
    with pytest.raises(UserError, match="4 or 6 numbers, got 7"):
        policy.act(np.zeros(7), "open the drawer")


def test_robots_that_look_alike_and_act_differently_are_told_apart_by_their_name_alone(tmp_path, keys):
    both = {**ARM, "hand": {"state": 6, "action": 1}}
    policy = Policy.load(saved(tmp_path, keys, both).uri, trusted_keys(keys))
    with pytest.raises(UserError, match="states of 6 numbers and actions of 1 or 2, .* say whose they are"):
        policy.act(np.zeros(6), "open the drawer")
    assert policy.act(np.zeros(6), "open the drawer", embodiment="hand").shape == (3, 1)
    assert policy.act(np.zeros(6), "open the drawer", embodiment="arm").shape == (3, 2)
    with pytest.raises(UserError, match="learned from arm, hand, and not from hands; did you mean hand"):
        policy.act(np.zeros(6), "open the drawer", embodiment="hands")
    one = Policy.load(saved(tmp_path, keys).uri, trusted_keys(keys))
    assert one.act(np.zeros(6), "open the drawer", embodiment="another").shape == (3, 2)


@pytest.mark.parametrize(
    ("states", "words", "says"),
    [
        ([[0.0] * 6, [0, 0, np.nan, 0, 0, 0]], "open the drawer", r"state\[1\]\[2\]: nan is no number; look"),
        ([0, 1e300, 0, 0, 0, 0], "open the drawer", r"state\[1\]: inf is no number"),
        ([0, None, 0, 0, 0, 0], "open the drawer", r"state\[1\]: nan is no number"),
        ([[0.0] * 6, [0.0] * 5], "open the drawer", "states are rows of numbers, all equally long"),
        (["open"] * 6, "open the drawer", "states are rows of numbers, all equally long"),
        (1.0, "open the drawer", r"takes states \(B, S\), got \(\)"),
        (np.zeros((1, 1, 6)), "open the drawer", r"takes states \(B, S\), got \(1, 1, 6\)"),
        (np.zeros(6), "open the \udc80", r"instruction 'open the \\udc80' has half a character"),
    ],
)
def test_what_no_network_can_act_on_is_refused(tmp_path, keys, states, words, says):
    policy = Policy.load(saved(tmp_path, keys).uri, trusted_keys(keys))
    with pytest.raises(UserError, match=f"policy {policy.policy_id}: {says}"):
        policy.act(states, words)


def test_no_states_no_actions(tmp_path, keys):
    policy = Policy.load(saved(tmp_path, keys, {**ARM, "finger": {"state": 4, "action": 1}}).uri, keys)
    assert policy.act(np.zeros((0, 6)), []).shape == (0, 3, 2)
    assert policy.act(np.zeros((0, 4)), "open the drawer").shape == (0, 3, 1)


def test_weights_that_do_not_fit_the_network_are_refused(tmp_path, keys):
    good = saved(tmp_path, keys)
    bundle = load_bundle(good.uri, trusted_keys(keys))
    weights = dict(bundle.weights)
    weights.pop("field.out.bias")
    bad = save_bundle(
        str(tmp_path / "policies"), replace(bundle.manifest, config={"x": 1}), weights, signing_key(keys)
    )
    with pytest.raises(BadBundle, match="do not fit"):
        Policy.load(bad.uri, trusted_keys(keys))


def test_trusted_is_keys_or_where_they_lie(tmp_path, keys, monkeypatch):
    bundle = saved(tmp_path, keys)
    (one,) = (tmp_path / "keys" / "trusted").glob("*.pem")
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / one.name).write_bytes(one.read_bytes())
    for trusted in (
        keys,
        tmp_path / "keys" / "trusted",
        tmp_path,
        tmp_path / "robot",
        one,
        trusted_keys(keys),
    ):
        assert load_policy(bundle.uri, trusted=trusted).policy_id == bundle.policy_id
    monkeypatch.setenv("LWD_KEYS", keys)
    assert load_policy(tmp_path / "policies" / bundle.policy_id).policy_id == bundle.policy_id


def test_a_wrong_path_says_what_is_wanted_there(tmp_path, keys):
    bundle = saved(tmp_path, keys)
    with pytest.raises(BadBundle, match="nothing: no policy there; give its folder"):
        load_policy(tmp_path / "nothing", trusted=keys)
    with pytest.raises(UserError, match="nothing: no such file or folder; give `<home>/keys`"):
        load_policy(bundle.uri, trusted=tmp_path / "nothing")
    with pytest.raises(UserError, match="no public key lies there"):
        load_policy(bundle.uri, trusted=tmp_path / "policies")
    with pytest.raises(UserError, match=r"signing\.pem: not an ed25519 public key"):
        load_policy(bundle.uri, trusted=tmp_path / "keys" / "signing.pem")
    with pytest.raises(BadBundle, match="not trusted here"):
        load_policy(bundle.uri, trusted={})


def test_one_state_and_one_instruction_are_enough(tmp_path, keys):
    policy = Policy.load(saved(tmp_path, keys).uri, keys)
    states = np.random.default_rng(1).normal(size=(5, 6))
    several = policy.act(states, ["press the button"] * 5, np.random.default_rng(2))
    assert (policy.act(states, "press the button", np.random.default_rng(2)) == several).all()
    one = policy.act(states[0], "press the button", np.random.default_rng(2))
    assert one.shape == (3, 2)
    # batches of other sizes round differently
    np.testing.assert_allclose(one, several[0], rtol=1e-5, atol=1e-5)
    assert policy.act(states[0], "press the button").shape == (3, 2)
    with pytest.raises(UserError, match="2 instructions for 5 states; give one, or one each"):
        policy.act(states, ["press the button"] * 2)


def test_a_robot_with_noise_of_its_own_gets_what_it_gets_alone(tmp_path, keys):
    policy = Policy.load(saved(tmp_path, keys).uri, trusted_keys(keys))
    states = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    text = "open the drawer"
    together = policy.act(states, text, [np.random.default_rng(s) for s in (5, 6, 5)])
    alone = np.stack(
        [
            policy.act(state, text, np.random.default_rng(s))
            for state, s in zip(states, (5, 6, 5), strict=True)
        ]
    )
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="2 sources of noise for 3 robots"):
        policy.act(states, text, [np.random.default_rng(s) for s in (5, 6)])


def test_a_device_that_is_not_here_is_refused(tmp_path, keys):
    uri = saved(tmp_path, keys).uri
    for name in ("tpu", "cuda:77"):
        with pytest.raises(UserError, match=f"device '{name}': not here .*cpu, cuda"):
            Policy.load(uri, keys, device=name)
    assert Policy.load(uri, keys, device="auto").chunk == 3
