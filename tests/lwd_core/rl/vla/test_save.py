"""What was learned, given back as a folder: this package reads it again, and the numbers are the same."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lwd_core.errors import UserError
from lwd_core.rl.vla.checkpoint import VlaFolder
from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.costs import Costs
from lwd_core.rl.vla.save import files_of, rewrite, write_folder
from lwd_core.rl.vla.sizes import PALIGEMMA
from lwd_core.rl.vla.statistics import VlaStatistics
from tests.lwd_core.rl.vla.tiny import tiny

KINDS = ("smolvla", "pi0", "pi05")


def given_back(folder, out: Path, learned, statistics=None, **settings) -> Path:
    out.mkdir()
    told = {"cameras": {"front": "base"}, "chunk": folder.config.chunk, "steps": 4} | settings
    write_folder(out, folder, learned, statistics or folder.statistics, **told)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_is_the_checkpoint_with_what_was_learned(kind: str, tmp_path: Path) -> None:
    folder = VlaFolder.open(tiny(tmp_path / "given", kind, chunk=4, middle=None))
    model = folder.model()
    expert = {id(p) for p in model.expert_parameters()}
    learned = {name: p.detach() + 0.01 for name, p in model.named_parameters() if id(p) in expert}
    again = VlaFolder.open(given_back(folder, tmp_path / "back", learned))
    assert again.config == folder.config
    assert again.keys == folder.keys
    assert again.statistics.named().keys() == folder.statistics.named().keys()
    for name, value in again.model().named_parameters():
        expected = learned.get(name, model.get_parameter(name))
        assert torch.equal(value, expected), name
    before, after = (load_file(f.weights) for f in (folder, again))
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {
        k: (v.shape, v.dtype) for k, v in after.items()
    }


def test_another_robots_widths_chunk_and_units_are_said(tmp_path: Path) -> None:
    folder = VlaFolder.open(tiny(tmp_path / "given", "smolvla", chunk=4, middle=None))
    ours = VlaStatistics(
        "mean_std", (torch.zeros(2), torch.ones(2)), "mean_std", (torch.ones(4), torch.ones(4))
    )
    out = given_back(folder, tmp_path / "back", {}, ours, chunk=3, steps=2)
    again = VlaFolder.open(out)
    assert (again.config.real_state_dim, again.config.real_action_dim) == (2, 4)
    assert (again.config.chunk, again.config.steps) == (3, 2)
    assert (again.config.state_dim, again.config.action_dim) == (8, 7)
    assert torch.equal(again.statistics.action_first, torch.ones(4))
    rename = json.loads((out / "policy_preprocessor.json").read_text())["steps"][0]
    assert rename["config"]["rename_map"] == {"observation.images.front": "observation.images.base"}
    post = sorted(out.glob("policy_postprocessor*.safetensors"))
    assert load_file(post[0])["action.mean"].tolist() == [1, 1, 1, 1]


def test_what_nothing_here_reads_may_say_anything(tmp_path: Path) -> None:
    folder = VlaFolder.open(tiny(tmp_path / "given", chunk=4))
    said = json.loads((folder.path / "config.json").read_text())
    for acted, told in ((None, 3), ("two", 3), (2, 2), (4, 3)):
        (folder.path / "config.json").write_text(json.dumps(said | {"n_action_steps": acted}))
        out = given_back(folder, tmp_path / f"back-{acted}", {}, chunk=3)
        assert json.loads((out / "config.json").read_text())["n_action_steps"] == told


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    folder = VlaFolder.open(tiny(tmp_path / "given", "smolvla", chunk=4, middle=None))
    assert set(files_of(folder)) == {
        "config.json",
        "model.safetensors",
        "policy_preprocessor_step_5_normalizer_processor.safetensors",
        "tokenizer.json",
        "vlm/config.json",
    }


def test_what_was_learned_in_float32_stays_so_among_bfloat16(tmp_path: Path) -> None:
    values = {
        "a.bf16": torch.randn(3, dtype=torch.bfloat16),
        "b": torch.randn(2, 2),
        "c.odd": torch.arange(3).to(torch.uint8),
    }
    save_file(values, tmp_path / "before.safetensors", {"format": "pt"})
    new = torch.randn(3)
    with (tmp_path / "after.safetensors").open("wb") as target:
        rewrite(tmp_path / "before.safetensors", target, {"a.bf16": new})
    after = load_file(tmp_path / "after.safetensors")
    assert torch.equal(after["a.bf16"], new)
    assert torch.equal(after["b"], values["b"])
    assert torch.equal(after["c.odd"], values["c.odd"])


def test_an_embedding_that_is_there_twice_is_changed_twice(tmp_path: Path) -> None:
    given = tiny(tmp_path / "given")
    tensors = load_file(given / "model.safetensors")
    embedding = next(key for key in tensors if key.endswith("embed_tokens.weight") and "paligemma." in key)
    head = "model.paligemma_with_expert.paligemma.lm_head.weight"
    save_file(tensors | {head: tensors[embedding].clone()}, given / "model.safetensors", {"format": "pt"})
    folder = VlaFolder.open(given)
    learned = {"text.embed_tokens.weight": torch.randn_like(tensors[embedding])}
    out = given_back(folder, tmp_path / "back", learned)
    with safe_open(out / "model.safetensors", "pt") as opened:
        assert torch.equal(opened.get_tensor(head), learned["text.embed_tokens.weight"])
        assert torch.equal(opened.get_tensor(embedding), learned["text.embed_tokens.weight"])


def test_what_is_no_number_is_not_given_back(tmp_path: Path) -> None:
    folder = VlaFolder.open(tiny(tmp_path / "given", "pi05", chunk=4, middle=None))
    name = "action_out_proj.bias"
    with pytest.raises(UserError, match=name):
        given_back(folder, tmp_path / "back", {name: torch.full((7,), torch.nan)})


def test_a_training_runs_last_policy_is_found_and_adapters_alone_are_not(tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last"
    last.mkdir(parents=True)
    given = tiny(last / "pretrained_model")
    assert VlaFolder.open(given) == VlaFolder.open(tmp_path / "run") == VlaFolder.open(last)
    (given / "adapter_config.json").write_text('{"base_model_name_or_path": "lerobot/pi0_base"}')
    with pytest.raises(UserError, match=r"adapters without their base \(lerobot/pi0_base\)"):
        VlaFolder.open(tmp_path / "run")


def test_costs_are_those_of_the_networks_that_have_a_name() -> None:
    """Numbers as the published files have them; operations counted by hand for pi0.5."""
    shared = {"action_dim": 32, "real_action_dim": 7, "state_dim": 32, "real_state_dim": 8}
    pi = VlaConfig(
        "pi05", 50, cameras=("a", "b", "c"), height=224, width=224, prompt_length=200,
        sizes=PALIGEMMA["gemma_2b"], **shared,
    )  # fmt: skip
    costs = Costs.of(pi)
    assert (round(costs.text / 1e6), round(costs.vision / 1e6), round(costs.expert / 1e6)) == (2511, 412, 430)
    assert (costs.tokens, round(costs.kept / 2**20)) == (968, 17)
    assert costs.prefix == pytest.approx(4.6e12, rel=0.03)
    assert costs.qam() - costs.prefix == pytest.approx(3.0e12, rel=0.06)
