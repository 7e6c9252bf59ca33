"""Checkpoints of tiny networks with random weights: in LeRobot's layout, and in transformers'."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from lwd_core.rl.vla.checkpoint import new_model
from lwd_core.rl.vla.config import IMAGES
from lwd_core.rl.vla.config_json import read_config
from lwd_core.rl.vla.sizes import PictureSizes, Sizes, StackSizes, expert_of
from lwd_core.rl.vla.weights import HEADS, to_checkpoint

#: Tokens of its vocabulary, and of a prompt at most.
TOKENS, WORDS = 320, 80
_TEXT = StackSizes(32, 48, 2, 4, 2, 8, 1e-5)
_SIZES = {
    "smolvla": Sizes(PictureSizes(16, 32, 1, 2, 8, 32), _TEXT, expert_of(_TEXT, 0.75), TOKENS, 2),
    "pi": Sizes(
        PictureSizes(16, 32, 1, 2, 8, 16),
        StackSizes(32, 48, 2, 4, 1, 8),
        StackSizes(16, 32, 2, 4, 1, 8),
        TOKENS,
    ),
}


def tiny(
    folder: Path,
    kind: str = "pi0",
    *,
    chunk: int = 2,
    state: int = 1,
    action: int = 2,
    cameras: Sequence[str] = ("base", "wrist"),
    middle: float | None = 0.0,
    sizes: Sizes | None = None,
    seed: int = 0,
) -> Path:
    """A folder that `VlaFolder.open` takes: configuration, weights, statistics, tokenizer.

    Its statistics take no more than ``middle`` from raw numbers; None for random ones.
    """
    folder.mkdir(parents=True)
    smol, units = kind == "smolvla", "QUANTILES" if kind == "pi05" else "MEAN_STD"
    sizes = sizes or _SIZES["smolvla" if smol else "pi"]
    pixels = sizes.vision.image
    said: dict[str, Any] = {
        "type": kind,
        "input_features": {
            **{IMAGES + name: {"type": "VISUAL", "shape": [3, 16, 20]} for name in cameras},
            "observation.state": {"type": "STATE", "shape": [state]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [action]}},
        "chunk_size": chunk,
        "n_action_steps": chunk,
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": units, "ACTION": units},
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
        (folder / "vlm").mkdir()
        (folder / "vlm" / "config.json").write_text(json.dumps(_smolvlm(sizes)))
    else:
        said |= {"image_resolution": [pixels, pixels], "num_inference_steps": 4, "dtype": "float32"}
        said |= {"paligemma_variant": "gemma_2b", "action_expert_variant": "gemma_300m"}
        (folder / "sizes.json").write_text(json.dumps(asdict(sizes)))
    (folder / "config.json").write_text(json.dumps(said))
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    model = new_model(read_config(folder))
    weights = {to_checkpoint(model.config.kind, name): p.detach() for name, p in model.named_parameters()}
    if smol:  # a head that says words is in its files, and nothing is computed with it
        weights[HEADS["smolvla"][0]] = torch.randn(sizes.vocabulary, sizes.text.width)
    save_file(
        {name: value.clone() for name, value in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    statistics = dict[str, torch.Tensor]()
    for name, width in (("observation.state", state), ("action", action)):
        first, second = torch.randn(width), torch.rand(width) + 0.5
        if middle is not None:
            first, second = torch.full((width,), middle), torch.ones(width)
        low, high = ("q01", "q99") if kind == "pi05" else ("mean", "std")
        if kind == "pi05":
            first, second = first - second, first + second
        statistics |= {f"{name}.{low}": first, f"{name}.{high}": second}
    save_file(statistics, folder / "policy_preprocessor_step_5_normalizer_processor.safetensors")
    return folder


def tiny_vlm(folder: Path, *, seed: int = 0) -> Path:
    """A vision-language model of transformers with its processor, by ``save_pretrained``."""
    from transformers import LlavaConfig, LlavaModel, LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    own = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlavaConfig(
        text_config={**own, "model_type": "llama", "num_key_value_heads": 2, "vocab_size": TOKENS},
        vision_config={**own, "model_type": "clip_vision_model", "patch_size": 14, "image_size": 28},
        image_token_index=TOKENS - 1,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(seed)
    LlavaModel(config).save_pretrained(folder)
    words = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer(), pad_token="<pad>")
    words.image_token = f"<{TOKENS - 1}>"
    pixels = {"height": 28, "width": 28}
    LlavaProcessor(
        CLIPImageProcessorPil(size=pixels, crop_size=pixels),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token=f"<{TOKENS - 1}>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def byte_tokenizer() -> Tokenizer:
    """Every byte a token, and what a prompt begins with."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<eos>", "<bos>", *letters]
    words += [f"<{i}>" for i in range(len(words), TOKENS)]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<pad>", "<eos>", "<bos>", words[-1]])
    return made


def _smolvlm(sizes: Sizes) -> dict[str, object]:
    text, vision = sizes.text, sizes.vision
    return {
        "model_type": "smolvlm",
        "scale_factor": sizes.shuffle,
        "transformers_version": "5.5.4",
        "image_token_id": TOKENS - 1,
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
