"""Policies' folders as LeRobot writes them, with random weights of tiny sizes."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from lwd_core.rl.vla.checkpoint import VlaFolder, new_model
from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.sizes import PictureSizes, Sizes, StackSizes, expert_of
from lwd_core.rl.vla.weights import HEADS, to_checkpoint

STATE, ACTION, CHUNK, WORDS = 5, 3, 4, 80
CAMERAS = ("base_0_rgb", "left_wrist_0_rgb")
_TEXT = StackSizes(32, 48, 2, 4, 2, 8, 1e-5)
_SIZES = {
    "smolvla": Sizes(PictureSizes(16, 32, 1, 2, 8, 32), _TEXT, expert_of(_TEXT, 0.75), 320, 2),
    "pi": Sizes(
        PictureSizes(16, 32, 1, 2, 8, 16), StackSizes(32, 48, 2, 4, 1, 8), StackSizes(16, 32, 2, 4, 1, 8), 320
    ),
}
_UNITS = {"smolvla": "MEAN_STD", "pi0": "MEAN_STD", "pi05": "QUANTILES"}


def tokenizer() -> Tokenizer:
    """Every byte a token, and what a prompt begins with; 320 in all."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<eos>", "<bos>", *letters]
    words += [f"<{i}>" for i in range(320 - len(words))]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<pad>", "<eos>", "<bos>"])
    return made


def write_tiny(path: Path, kind: str, *, seed: int = 0) -> Path:
    """A whole folder: configuration, weights, processors' statistics, tokenizer."""
    path.mkdir(parents=True)
    smol = kind == "smolvla"
    sizes = _SIZES["smolvla" if smol else "pi"]
    pixels = sizes.vision.image
    features = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 16, 20]} for name in CAMERAS}
    said = {
        "type": kind,
        "input_features": {**features, "observation.state": {"type": "STATE", "shape": [STATE]}},
        "output_features": {"action": {"type": "ACTION", "shape": [ACTION]}},
        "chunk_size": CHUNK,
        "n_action_steps": CHUNK,
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": _UNITS[kind], "ACTION": _UNITS[kind]},
        "max_state_dim": 8,
        "max_action_dim": 7,
        "tokenizer_max_length": WORDS,
        "min_period": 0.004,
        "max_period": 4.0,
        "device": "cpu",
    }
    if smol:
        said |= {"resize_imgs_with_padding": [pixels, pixels], "num_steps": 4, "vlm_model_name": "vlm"}
        said |= {"num_vlm_layers": 2, "self_attn_every_n_layers": 2, "expert_width_multiplier": 0.75}
        said |= {"attention_mode": "cross_attn", "num_expert_layers": -1, "load_vlm_weights": False}
        (path / "vlm").mkdir()
        (path / "vlm" / "config.json").write_text(json.dumps(_smolvlm(sizes)))
    else:
        said |= {"image_resolution": [pixels, pixels], "num_inference_steps": 4, "dtype": "float32"}
        said |= {"paligemma_variant": "gemma_2b", "action_expert_variant": "gemma_300m"}
        (path / "sizes.json").write_text(json.dumps(asdict(sizes)))
    (path / "config.json").write_text(json.dumps(said))
    tokenizer().save(str(path / "tokenizer.json"))
    torch.manual_seed(seed)
    model = new_model(VlaConfig.read(path))
    weights = {
        to_checkpoint(model.config.kind, name): torch.randn_like(p) * 0.1
        for name, p in model.named_parameters()
    }
    if smol:  # a head that says words is in its files, and nothing is computed with it
        weights[HEADS["smolvla"][0]] = torch.randn(sizes.vocabulary, sizes.text.width)
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    statistics = {}
    for name, width in (("observation.state", STATE), ("action", ACTION)):
        low, span = torch.randn(width), torch.rand(width) + 0.5
        names = ("q01", "q99") if kind == "pi05" else ("mean", "std")
        statistics[f"{name}.{names[0]}"] = low
        statistics[f"{name}.{names[1]}"] = low + span if kind == "pi05" else span
    save_file(statistics, path / "policy_preprocessor_step_5_normalizer_processor.safetensors")
    return path


def open_tiny(path: Path) -> VlaFolder:
    return VlaFolder.open(path, position_ids=None if "pi" in VlaConfig.read(path).kind else "exact")


def _smolvlm(sizes: Sizes) -> dict[str, object]:
    text, vision = sizes.text, sizes.vision
    return {
        "model_type": "smolvlm",
        "scale_factor": sizes.shuffle,
        "transformers_version": "5.5.4",
        "image_token_id": 319,
        "text_config": {
            "model_type": "llama",
            "head_dim": text.head_dim,
            "hidden_size": text.width,
            "intermediate_size": text.hidden,
            "num_attention_heads": text.heads,
            "num_hidden_layers": text.layers,
            "num_key_value_heads": text.kv_heads,
            "rms_norm_eps": text.eps,
            "vocab_size": sizes.vocabulary,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": vision.width,
            "image_size": vision.image,
            "intermediate_size": vision.hidden,
            "layer_norm_eps": vision.eps,
            "num_attention_heads": vision.heads,
            "num_hidden_layers": vision.layers,
            "patch_size": vision.patch,
            "num_channels": 3,
        },
    }
