"""A model of transformers with an expert of our own: what is computed once, what counts, what is refused."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lwd_core.errors import UserError
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import EncoderConfig, Observation, VisionConfig
from lwd_core.rl.fields import FIELDS, Measured
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from tests.lwd_core.rl.vla.tiny import tiny_vlm

EXPERT = {"cameras": ["front"], "hidden": 16, "layers": 2, "heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm(tmp_path_factory.mktemp("vlm") / "given")


def policy(folder: Path, **settings) -> FlowPolicy:
    torch.manual_seed(0)
    vlm = choose(FIELDS, "vlm", folder=str(folder), **(EXPERT | settings))
    encoder = EncoderConfig(3, 4, 0, VisionConfig(("front",), 24, 20))
    state = {"mean": torch.zeros(3), "std": torch.ones(3)}
    measured = Measured(state, {"mean": torch.zeros(2)}, -torch.ones(2), torch.ones(2))
    return vlm.made.policy(PolicyConfig(FieldConfig(encoder, 2, 4, kind=vlm), steps=2), measured)


def seen(of: FlowPolicy, words: list[str]) -> Observation:
    numbers = torch.Generator().manual_seed(1)
    shown = torch.randint(0, 256, (len(words), 1, 24, 20, 3), dtype=torch.uint8, generator=numbers)
    state = torch.rand(len(words), 3, generator=numbers)
    tokens, mask = of.normaliser.prompt(words, state)
    return Observation(state, torch.zeros(len(words), 4), shown, None, tokens, mask)


def test_the_expert_alone_learns_and_the_model_runs_once(folder: Path, monkeypatch) -> None:
    of = policy(folder)
    theta = copy.deepcopy(of.field)
    assert theta.base is of.field.base
    assert not any("llava" in n or n.startswith("base") for n in theta.state_dict())
    runs = []
    whole = of.field.base.folder.model
    run = type(whole).forward
    monkeypatch.setattr(type(whole), "forward", lambda *a, **k: runs.append(1) or run(*a, **k))
    observation = seen(of, ["push the cup", "go"])
    x, w = torch.rand(5, 2, 8), torch.rand(5, 1, 1)
    flows = [field.at(observation) for field in (of.field, theta)]
    velocity, again = (flow.velocity(x, w) for flow in flows)
    assert len(runs) == 1
    assert torch.equal(velocity, again)
    torch.testing.assert_close(velocity[3], flows[0].velocity(x[3], float(w[3])))
    velocity.sum().backward()
    assert all(p.grad is not None for n, p in of.field.named_parameters() if n != "asks")
    assert all(p.grad is None for p in whole.parameters())


def test_words_and_pictures_count_and_what_is_beside_does_not(folder: Path) -> None:
    of = policy(folder)
    x = torch.rand(2, 8)

    def said(observation: Observation) -> torch.Tensor:
        with torch.no_grad():
            return ConditionedFlow.of(of.field, observation).velocity(x, 0.5)

    one, longer = seen(of, ["push it", "go"]), seen(of, ["push it", "go to the very end of the table"])
    torch.testing.assert_close(said(one)[0], said(longer)[0])  # though the other's words are more
    assert not torch.allclose(said(one)[1], said(longer)[1])
    dark = one._replace(image=torch.zeros_like(one.image))
    hidden = one._replace(image_mask=torch.zeros(2, 1, dtype=torch.bool))
    assert torch.equal(said(dark), said(hidden))
    assert not torch.allclose(said(dark), said(one))
    good = of.field.told(one, torch.tensor([1.0, 0.0]))
    texts = [bytes(row[there].tolist()) for row, there in zip(good.tokens, good.token_mask, strict=True)]
    assert texts == [b"push it Advantage: positive", b"go Advantage: negative"]
    stands = of.field.base.folder.processor.image_token
    with pytest.raises(UserError, match=f"instruction 'see {stands}': {stands} stands for a picture"):
        said(seen(of, ["push it", f"see {stands}"]))


def test_what_transformers_would_pass_through_is_refused(folder: Path, tmp_path: Path) -> None:
    def changed(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    with pytest.raises(UserError, match=r"no config\.json"):
        policy(tmp_path)
    pickled = changed("pickled")
    (pickled / "model.safetensors").unlink()
    torch.save(nn.Linear(1, 1).state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no \*\.safetensors; .*pickles are not read"):
        policy(pickled)
    half = changed("half")
    (half / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match="no vision-language model that transformers reads"):
        policy(half)
    lacking = changed("lacking")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if "q_proj" in name))
    save_file(tensors, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"q_proj\.weight: missing, and transformers would make them up"):
        policy(lacking)
    blind = changed("blind")
    (blind / "processor_config.json").unlink()
    with pytest.raises(UserError, match="network.field.folder"):
        policy(blind)
    of = policy(folder)
    other = tiny_vlm(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"model\.safetensors is not the one that this policy was learned"):
        FlowPolicy(replaced(of.config, other))
    for wrong, said in (
        ({"cameras": []}, "at least one"),
        ({"cameras": ["a", "a"]}, "twice"),
        ({"heads": 3}, "even number"),
    ):
        with pytest.raises(ValueError, match=said):
            choose(FIELDS, "vlm", folder=str(folder), **(EXPERT | wrong))


def replaced(config: PolicyConfig, folder: Path) -> PolicyConfig:
    told = config.to_dict()
    told["field"]["kind"]["folder"] = str(folder)
    return PolicyConfig.from_dict(told)
