"""A policy learned on a checkpoint: what it learned is released, and acts where its base is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies import bases
from lwd_core.policies.bundle import BadBundle, Bundle, load_bundle
from lwd_core.policies.inference import Policy, save_policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.policies.registry import register
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import EncoderConfig, VisionConfig
from lwd_core.rl.fields import FIELDS, Measured
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.training.program import export_program
from storage_schemas.policy import Lineage
from tests.lwd_core.rl.vla.tiny import WORDS, tiny

CAMERA = {"front": "base"}
STATE, ACTION, CHUNK = 5, 3, 4


def checkpoint(path: Path, seed: int = 0) -> Path:
    return tiny(path, "smolvla", chunk=CHUNK, state=STATE, action=ACTION, seed=seed)


def learned(folder: Path, seed: int, **settings) -> FlowPolicy:
    """A policy on the checkpoint in ``folder``, whose expert moved."""
    kind = choose(FIELDS, "vla", folder=str(folder), cameras=CAMERA, statistics="checkpoint", **settings)
    encoder = EncoderConfig(STATE, vision=VisionConfig(("front",), 16, 20))
    config = PolicyConfig(FieldConfig(encoder, ACTION, CHUNK, kind=kind), steps=2)
    plain = {"mean": torch.zeros(STATE)}, {"mean": torch.zeros(ACTION)}
    ends = torch.full((ACTION,), 3.0)
    policy = kind.made.policy(config, Measured(*plain, -ends, ends))
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in policy.field.parameters():
            p += 0.02 * torch.randn_like(p) * (p.dim() > 0)
    return policy


def release(policies: Path, keys: str, policy: FlowPolicy, config: dict | None = None) -> Bundle:
    return save_policy(
        str(policies),
        policy,
        {"pick the cube": torch.zeros(384)},
        embodiments={"arm": {"state": STATE, "action": ACTION, "front.height": 16, "front.width": 20}},
        config=config or {"stage": "sft"},
        lineage=Lineage("sft", "c" * 8, 100, ("d" * 8,)),
        key=signing_key(keys),
    )


@pytest.fixture
def keys(tmp_path: Path) -> str:
    return str(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "given")


def asked(policy: Policy, words: str = "pick the cube") -> np.ndarray:
    states = np.linspace(-1, 1, 2 * STATE).reshape(2, STATE)
    picture = np.arange(16 * 20 * 3, dtype=np.uint8).reshape(16, 20, 3)
    return policy.act(states, words, np.random.default_rng(0), [{"front": picture}] * 2)


def test_two_releases_share_a_base_and_act_as_they_learned(tmp_path: Path, keys: str, folder: Path) -> None:
    policies = tmp_path / "p"
    models = [learned(folder, seed, position_ids="exact") for seed in (1, 2)]
    bundles = [release(policies, keys, model) for model in models]
    assert len(list((policies / "bases").iterdir())) == 1
    whole = (folder / "model.safetensors").stat().st_size
    for bundle in bundles:
        assert (Path(bundle.uri) / "weights.safetensors").stat().st_size < whole
        assert str(folder) not in (Path(bundle.uri) / "manifest.json").read_text()
    shutil.rmtree(folder)  # a robot is not where it was learned
    loaded = [Policy.load(bundle.uri, trusted_keys(keys)) for bundle in bundles]
    chunks = [asked(policy) for policy in loaded]
    assert not np.allclose(chunks[0], chunks[1])
    assert chunks[0].shape == (2, CHUNK, ACTION)
    assert np.abs(chunks[0]).max() <= 3
    ours = loaded[0]
    assert ours.cameras == ("front",)
    assert asked(ours, "words it was never told").shape == (2, CHUNK, ACTION)  # it reads them itself
    assert ours.act(np.zeros((0, STATE)), [], frames=[]).shape == (0, CHUNK, ACTION)
    with pytest.raises(UserError, match="half a character"):
        asked(ours, "pick the \ud83d")
    backbones = [policy._model.field.network.text.embed_tokens.weight for policy in loaded]
    assert backbones[0].data_ptr() == backbones[1].data_ptr()
    for part, value in models[0].state_dict().items():
        assert torch.equal(ours._model.state_dict()[part], value), part


def test_without_its_base_it_does_not_act(tmp_path: Path, keys: str, folder: Path) -> None:
    bundle = release(tmp_path / "p", keys, learned(folder, 1, position_ids="exact"))
    base = load_bundle(bundle.uri, trusted_keys(keys)).manifest.base
    assert base is not None
    assert (base.kind, base.position_ids) == ("smolvla", "exact")
    place = tmp_path / "p" / "bases" / base.base_id
    weights = (place / "model.safetensors").read_bytes()
    (place / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(BadBundle, match=r"model\.safetensors: the bytes are not those"):
        Policy.load(bundle.uri, trusted_keys(keys))
    shutil.rmtree(place)
    with pytest.raises(BadBundle, match="smolvla base this policy was learned on is not there"):
        Policy.load(bundle.uri, trusted_keys(keys))
    other = checkpoint(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="changed since"):
        bases.publish_base(str(tmp_path / "p"), base, {name: other / name for name in base.files})


def test_no_policy_is_released_on_files_that_changed_since_it_learned(
    tmp_path: Path, keys: str, folder: Path
) -> None:
    """They are in memory as they were; on disk, and on robots, they would be others."""
    model, other = learned(folder, 1, position_ids="exact"), checkpoint(tmp_path / "other", seed=5)
    for name in ("model.safetensors", "tokenizer.json"):
        kept = (folder / name).read_bytes()
        changed = (other / name).read_bytes() if name.startswith("model") else kept + b" "
        (folder / name).write_bytes(changed)
        with pytest.raises(UserError, match=f"{name}: changed since it was learned on"):
            release(tmp_path / "p", keys, model)
        (folder / name).write_bytes(kept)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: changed since it was learned on"):
        release(tmp_path / "p", keys, model)
    assert not (tmp_path / "p").exists()


def test_the_words_of_a_bundle_name_no_place_and_fix_the_rule(
    tmp_path: Path, keys: str, folder: Path
) -> None:
    exact, skewed = (learned(folder, 1, position_ids=rule) for rule in ("exact", "skewed"))
    one, two = (release(tmp_path / "p", keys, model) for model in (exact, skewed))
    assert one.policy_id != two.policy_id
    assert one.manifest.base == replace(two.manifest.base, position_ids="exact")
    kind = one.manifest.network["field"]["kind"]
    assert (kind["folder"], kind["tokenizer"], kind["position_ids"]) == ("", None, "exact")
    said = {"stage": "sft", "network": {"steps": 2, "field": {"kind": "vla", "folder": str(folder)}}}
    trained = release(tmp_path / "p", keys, exact, said)
    assert trained.manifest.config == {"stage": "sft", "network": {"steps": 2, "field": kind}}
    assert str(folder) not in (Path(trained.uri) / "manifest.json").read_text()
    rounded = release(tmp_path / "p", keys, learned(folder, 1, position_ids="exact", precision="bfloat16"))
    exactly, nearly = (asked(Policy.load(b.uri, trusted_keys(keys))) for b in (one, rounded))
    assert not np.array_equal(exactly, nearly)
    assert np.abs(exactly - nearly).max() < 0.1  # a backbone in bfloat16, what learned in float32
    with pytest.raises(UserError, match="lwd export policy"):
        export_program(exact)


def test_it_is_given_back_as_the_checkpoint_it_became(
    tmp_path: Path, keys: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command; this package's own reader then begins where the policy is."""
    home = tmp_path / "home"
    monkeypatch.setenv("LWD_HOME", str(home))
    model = learned(folder, 1, position_ids="skewed", expert="lora", rank=2)
    bundle = release(home / "policies", str(home / "keys"), model)
    register(Lake.open(str(home / "lake"), create=True), bundle, now_ns=1)
    out = tmp_path / "back"
    done = CliRunner().invoke(
        app, ["export", "policy", "--to", "lerobot", str(out), "--policy", bundle.policy_id[:6], "--json"]
    )
    assert done.exit_code == 0, done.output
    assert any("4.55" in note for note in json.loads(done.stdout)["notes"])
    assert bundle.policy_id in (out / "README.md").read_text()
    shown = CliRunner().invoke(app, ["vla", "show", str(out), "--position-ids", "skewed", "--json"])
    told = json.loads(shown.stdout)
    assert (told["config"]["real_state_dim"], told["config"]["chunk"]) == (STATE, CHUNK)
    assert told["costs"]["tokens"] == 2 * 4 + WORDS + 1  # two cameras, words, state
    shown = CliRunner().invoke(app, ["vla", "show", str(out), "--position-ids", "skewed"])
    assert "5 numbers of 8, by mean_std" in shown.stdout
    bare = Path(shutil.copytree(out, tmp_path / "bare"))
    for file in bare.glob("policy_*"):
        file.unlink()
    asked_of = ["vla", "show", str(bare), "--position-ids", "skewed"]
    without = CliRunner().invoke(app, asked_of)
    assert isinstance(without.exception, UserError)
    assert "choose statistics: snapshot" in str(without.exception)
    shown = CliRunner().invoke(app, [*asked_of, "--statistics", "snapshot"])
    assert "5 numbers of 8, by mean_std" in shown.stdout
    kind = choose(FIELDS, "vla", folder=str(out), cameras=CAMERA, position_ids="skewed")
    field = replace(model.config.field, kind=kind)
    plain = {"mean": torch.zeros(STATE)}, {"mean": torch.zeros(ACTION)}
    ends = torch.full((ACTION,), 3.0)
    again = kind.made.policy(replace(model.config, field=field), Measured(*plain, -ends, ends))
    for name, value in again.normaliser.state_dict().items():
        assert torch.allclose(value, model.normaliser.state_dict()[name]), name
    merged, network = model.field.merged(), again.field.network
    for name, value in merged.items():
        assert torch.equal(network.get_parameter(name), value), name
    once_more = CliRunner().invoke(app, ["export", "policy", str(out), "--policy", bundle.policy_id])
    assert isinstance(once_more.exception, UserError)
    assert "exists already" in str(once_more.exception)
