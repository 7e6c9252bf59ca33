"""A folder that would be misread is refused, and the message names file, key and remedy."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from lwd_core.errors import UserError
from lwd_core.rl.vla.checkpoint import VlaFolder, new_model
from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.config_json import read_config
from lwd_core.rl.vla.sizes import PALIGEMMA, SMOLVLM
from lwd_core.rl.vla.statistics import VlaStatistics
from lwd_core.rl.vla.weights import WEIGHTS, to_checkpoint
from tests.lwd_core.rl.vla.golden import GOLDENS, folder, model

HEAD = "model.paligemma_with_expert.paligemma.lm_head.weight"
STATISTICS = "policy_preprocessor_step_6_normalizer_processor.safetensors"
Change = Callable[[Path], None]


def copied(tmp_path: Path, kind: str = "pi0") -> Path:
    return Path(shutil.copytree(GOLDENS / kind, tmp_path / kind))


def tensors(change: Callable[[dict[str, torch.Tensor]], Any], file: str = WEIGHTS) -> Change:
    def apply(at: Path) -> None:
        kept = load((at / file).read_bytes())  # not mapped: it is written over
        change(kept)
        save_file(kept, at / file)

    return apply


def settings(**values: Any) -> Change:
    def apply(at: Path) -> None:
        file = at / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return apply


def sizes(part: str, **values: Any) -> Change:
    def apply(at: Path) -> None:
        file = at / "sizes.json"
        kept = json.loads(file.read_text())
        file.write_text(json.dumps(kept | {part: kept[part] | values}))

    return apply


def truncated(at: Path) -> None:
    (at / WEIGHTS).write_bytes((at / WEIGHTS).read_bytes()[:-1000])


def pickled(at: Path) -> None:
    torch.save(load((at / WEIGHTS).read_bytes()), at / "pytorch_model.bin")
    (at / WEIGHTS).unlink()


def a_pickle_by_another_name(at: Path) -> None:
    torch.save(load((at / WEIGHTS).read_bytes()), at / WEIGHTS)


def other_tokenizer(at: Path) -> None:
    Tokenizer(WordLevel({f"w{i}": i for i in range(40)}, "w0")).save(str(at / "tokenizer" / "tokenizer.json"))


def unlike_after(at: Path) -> None:
    (file,) = at.glob("policy_postprocessor*.safetensors")
    tensors(lambda t: t["action.mean"].add_(1), file.name)(at)


def one_key(key: str, value: Callable[[torch.Tensor], torch.Tensor], file: str = WEIGHTS) -> Change:
    return tensors(lambda t: t.update({key: value(t[key])}), file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (truncated, f"{WEIGHTS}: no whole safetensors file"),
        (pickled, "pytorch_model.bin: a pickle, .* save the policy as"),
        (a_pickle_by_another_name, f"{WEIGHTS}: no whole safetensors file"),
        (lambda at: (at / WEIGHTS).unlink(), f"no {WEIGHTS}; give a policy's folder"),
        (tensors(lambda t: t.pop("model.state_proj.bias")), "model.state_proj.bias: missing"),
        (tensors(lambda t: t.update(more=torch.ones(2))), "more: a pi0 has none of that"),
        (tensors(lambda t: t.update({"normalize_inputs.x": torch.ones(2)})), "migrate_policy_normalization"),
        (
            one_key("model.state_proj.bias", lambda t: t[:3]),
            r"state_proj.bias: of shape \[3\], where .* \[16\]",
        ),
        (one_key("model.state_proj.bias", lambda t: t.int()), "state_proj.bias: of type I32; only"),
        (settings(type="act"), "config.json: type: 'act'"),
        (settings(max_state_dim=6), r"state_proj.weight: of shape \[16, 5\], where .* \[16, 6\]"),
        (settings(use_relative_actions=True), "use_relative_actions: True is not supported"),
        (settings(swirl=3), "swirl: 3 is not supported for pi0"),
        (settings(chunk_size=0), "chunk_size: 0 is no positive whole number"),
        (settings(tokenizer_max_length=10**12), "tokenizer_max_length: 1000000000000 is no positive whole"),
        (settings(type=["pi0"]), r"config.json: type: \['pi0'\] is no policy"),
        (settings(input_features={"observation.state": {"type": "STATE", "shape": [3]}}), "no camera"),
        (
            settings(
                input_features={
                    "observation.state": {"type": "STATE", "shape": [9]},
                    "observation.images.base": {"type": "VISUAL", "shape": [3, 20, 36]},
                }
            ),
            "observation.state has 9 .* takes 5",
        ),
        (settings(input_features={"observation.images.base": "VISUAL"}), "base: 'VISUAL', where type and"),
        (settings(output_features={"action": {"type": "ACTION"}}), "action has shape None; one dimension"),
        (settings(output_features={"action": {"type": "ACTION", "shape": ["a"]}}), r"has shape \['a'\]"),
        (settings(normalization_mapping=["STATE"]), "normalization_mapping: STATE: None, where MEAN_STD, "),
        (settings(min_period="short"), "min_period: 'short' is no number above 0"),
        (settings(max_period=float("inf")), "max_period: inf is no number above 0"),
        (settings(max_period=10**400), "max_period: 1000.* is no number above 0"),
        (settings(image_resolution=["28", "28"]), "image_resolution: .* two numbers of pixels"),
        (settings(image_resolution=[56, 56]), r"position_embedding.weight: of shape \[4, 16\], .* \[16,"),
        (settings(image_resolution=[10**30] * 2), "config.json: no network is as large as it says"),
        (settings(output_features={"action": {"type": "ACTION", "shape": [9]}}), "action has 9 .* takes 4"),
        (settings(normalization_mapping={"STATE": "MEAN_STD", "ACTION": "LOG"}), "ACTION: 'LOG'"),
        (settings(normalization_mapping={"STATE": "MEAN_STD", "ACTION": "MIN_MAX"}), "norm_map: ACTION"),
        (lambda at: (at / "config.json").write_text("{"), "config.json: "),
        (lambda at: (at / "config.json").write_text("[" * 100_000), "config.json: not to be read"),
        (
            lambda at: (at / "policy_preprocessor.json").write_text(
                '{"steps": [{"config": {"norm_map": null}}]}'
            ),
            "policy_preprocessor.json: no processor's configuration",
        ),
        (lambda at: (at / STATISTICS).unlink(), "no policy_preprocessor.*: without statistics"),
        (
            tensors(lambda t: t.pop("observation.state.std"), STATISTICS),
            "no observation.state.std, .* MEAN_STD",
        ),
        (one_key("action.mean", lambda t: t * torch.nan, STATISTICS), "action.mean: not all are finite"),
        (one_key("action.mean", lambda t: t[:1], STATISTICS), r"action.mean has shape \[1\]"),
        (one_key("action.std", lambda t: -t, STATISTICS), "action: std is below 0"),
        (unlike_after, "action.mean: actions would come back in other units"),
        (other_tokenizer, "40 tokens, but this checkpoint embeds 100: a tokenizer of another model"),
        (
            lambda at: shutil.rmtree(at / "tokenizer"),
            "tokenizer.json: no such file; .* give the tokenizer.json",
        ),
        (lambda at: (at / "sizes.json").write_text("{}"), "sizes.json: vision"),
        (sizes("vision", heads=3), "sizes.json: vision: heads: 3, which do not divide the width 16"),
        (sizes("text", kv_heads=3), "sizes.json: text: kv_heads: 3, which do not divide the 8 heads"),
        (sizes("text", head_dim=7), "sizes.json: text: head_dim: 7; it is turned in pairs"),
        (sizes("text", layers=10**9), "sizes.json: text.layers: .* less than or equal to 1024"),
        (sizes("vision", patch=1 << 20, width=1 << 20), "config.json: no network is as large as it says"),
    ],
)
def test_a_folder_is_refused(tmp_path: Path, change: Change, said: str) -> None:
    at = copied(tmp_path)
    change(at)
    with pytest.raises(UserError, match=said):
        VlaFolder.open(at)


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("text_config", "hidden_size", None, "text.width: input should be a valid integer, not None"),
        ("text_config", "num_attention_heads", -1, "text.heads: input should be greater than or equal to 1"),
        ("text_config", "num_hidden_layers", 10**9, "text.layers: .* less than or equal to 1024"),
        ("text_config", "rms_norm_eps", "x", "text.eps: input should be a valid number"),
        ("vision_config", "num_attention_heads", 5, "vision: heads: 5, which do not divide the width"),
        ("vision_config", "patch_size", 0, "vision.patch: input should be greater than or equal to 1"),
    ],
)
def test_a_smolvlms_configuration_is_refused(
    tmp_path: Path, part: str, key: str, value: Any, said: str
) -> None:
    at = copied(tmp_path, "smolvla")
    file = at / "vlm" / "config.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | {part: whole[part] | {key: value}}))
    with pytest.raises(UserError, match=rf"config\.json: no SmolVLM's configuration \(.*{said}"):
        VlaFolder.open(at)
    settings(vlm_model_name="x" * 5000)(at)
    with pytest.raises(UserError, match=r"no SmolVLM's configuration \(.*File name too long"):
        VlaFolder.open(at)


def test_numbers_that_are_none_are_refused_when_they_are_read(tmp_path: Path) -> None:
    at = copied(tmp_path)
    one_key("model.state_proj.bias", lambda t: t * torch.nan)(at)
    with pytest.raises(UserError, match=r"state_proj\.bias: not all numbers are finite"):
        VlaFolder.open(at).model()


def test_what_others_write_of_the_same_network_is_read(tmp_path: Path) -> None:
    """No "model." in front, time by its old name, the head alone."""
    at = copied(tmp_path, "pi05")
    embedding = to_checkpoint("pi05", "text.embed_tokens.weight")

    def other(t: dict[str, torch.Tensor]) -> None:
        t[HEAD] = t.pop(embedding)
        for key in list(t):
            old = key.removeprefix("model.")
            t[re.sub("^time_mlp_", "action_time_mlp_", old)] = t.pop(key)

    tensors(other)(at)
    opened = VlaFolder.open(at)
    for name, value in opened.model().state_dict().items():
        assert torch.equal(value, model("pi05").state_dict()[name]), name
    assert opened.digests["config"] == folder("pi05").digests["config"]
    assert opened.digests["weights"] != folder("pi05").digests["weights"]


def test_position_ids_are_a_choice_where_the_version_is_not_told(tmp_path: Path) -> None:
    at = copied(tmp_path, "smolvla")
    file = at / "vlm" / "config.json"
    value = json.loads(file.read_text())
    for version in ("4.57.6", None):
        file.write_text(json.dumps(value | {"transformers_version": version}))
        with pytest.raises(UserError, match="Choose position_ids: skewed if .* else exact"):
            VlaFolder.open(at)
    skewed = VlaFolder.open(at, position_ids="skewed").model()
    picture = torch.rand(1, 1, 3, 64, 64)
    assert not torch.equal(skewed.look(picture), model("smolvla").look(picture))
    assert torch.equal(
        skewed.vision.embeddings(picture[0])[0, 0], model("smolvla").vision.embeddings(picture[0])[0, 0]
    )


def test_how_a_state_stands_in_the_prompt_is_a_choice_where_it_is_not_told(tmp_path: Path) -> None:
    """LeRobot 0.4 told pi0.5 the padded state."""
    at = copied(tmp_path, "pi05")
    config = json.loads((at / "config.json").read_text())
    del config["use_relative_actions"]
    (at / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="Choose state_prompt: padded .* real"):
        VlaFolder.open(at)
    state = torch.zeros(1, 3)
    real, padded = (
        VlaFolder.open(at, state_prompt=told).prompter(["go"], state)[1].sum() for told in ("real", "padded")
    )
    assert padded - real == 2 * len(" 128")


def test_statistics_of_ones_own_take_the_folders_place(tmp_path: Path) -> None:
    at = copied(tmp_path)
    (at / STATISTICS).unlink()
    config = read_config(at)
    assert config == VlaConfig.from_dict(config.to_dict())
    given = VlaStatistics.of(config, folder("pi0").statistics.named(), "mine")
    assert torch.equal(VlaFolder.open(at, statistics=given).statistics.action_first, given.action_first)


def test_networks_by_name_are_as_large_as_they_say() -> None:
    """Millions of numbers in all, of pictures, text and expert."""
    smol = SMOLVLM["SmolVLM2-500M-Video-Instruct"]
    for kind, sizes, known in (
        ("smolvla", smol.reading(smol.text.first(16)).acting(smol.expert.first(16)), (403, 86, 205, 100)),
        ("pi05", PALIGEMMA["gemma_2b"], (3350, 412, 2508, 425)),
    ):
        config = replace(folder(kind).config, sizes=sizes, action_dim=32, state_dim=32)
        made = new_model(config, device="meta")
        parts = (made, made.vision, made.text, made.expert)
        counted = [sum(p.numel() for p in part.parameters()) / 1e6 for part in parts]
        assert counted == pytest.approx(known, rel=0.03)
