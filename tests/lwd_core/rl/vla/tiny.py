"""Checkpoints of tiny networks with random weights, in LeRobot's layout."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from lwd_core.rl.vla.checkpoint import new_model
from lwd_core.rl.vla.config import IMAGES, VlaConfig
from lwd_core.rl.vla.weights import to_checkpoint

WORDS = "<pad> <bos> <eos> <unk> point at the light reach push cup Advantage: negative positive Task: State:"
PIXELS = {"smolvla": 64, "pi0": 28, "pi05": 28}
SIZES = {
    "vision": {"width": 16, "hidden": 32, "layers": 1, "heads": 2, "patch": 14, "image": 28},
    "text": {"width": 32, "hidden": 64, "layers": 2, "heads": 4, "kv_heads": 1, "head_dim": 8},
    "expert": {"width": 32, "hidden": 64, "layers": 2, "heads": 4, "kv_heads": 1, "head_dim": 8},
    "vocabulary": 64,
}
SMOLVLM = {
    "transformers_version": "5.0.0",
    "scale_factor": 2,
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rms_norm_eps": 1e-5,
        "vocab_size": 64,
    },
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": 16,
        "image_size": 64,
    },
}


def tiny(
    folder: Path,
    kind: str = "pi0",
    *,
    chunk: int = 2,
    state: int = 1,
    action: int = 2,
    cameras: tuple[str, ...] = ("base", "wrist"),
    middle: float = 0.0,
    seed: int = 0,
) -> Path:
    """A folder that `VlaFolder.open` takes; its statistics take no more than ``middle`` from raw numbers."""
    folder.mkdir(parents=True)
    pixels, units = PIXELS[kind], "QUANTILES" if kind == "pi05" else "MEAN_STD"
    config = {
        "type": kind,
        "input_features": {
            **{IMAGES + name: {"type": "VISUAL", "shape": [3, pixels, pixels]} for name in cameras},
            "observation.state": {"type": "STATE", "shape": [state]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [action]}},
        "chunk_size": chunk,
        "max_state_dim": 8,
        "max_action_dim": 7,
        "tokenizer_max_length": 12,
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": units, "ACTION": units},
    }
    if kind == "smolvla":
        config |= {"resize_imgs_with_padding": [pixels] * 2, "vlm_model_name": "vlm", "num_vlm_layers": 2}
        (folder / "vlm").mkdir()
        (folder / "vlm" / "config.json").write_text(json.dumps(SMOLVLM))
    else:
        config |= {"image_resolution": [pixels] * 2, "dtype": "float32"}
        (folder / "sizes.json").write_text(json.dumps(SIZES))
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = new_model(VlaConfig.read(folder))
    tensors = {to_checkpoint(kind, name): p.detach().clone() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors")
    low, high = ("q01", "q99") if kind == "pi05" else ("mean", "std")
    first = -1.0 if kind == "pi05" else middle
    statistics = {"observation.state": state, "action": action}
    values = {f"{key}.{low}": torch.full((width,), first) for key, width in statistics.items()}
    values |= {f"{key}.{high}": torch.ones(width) for key, width in statistics.items()}
    save_file(values, folder / "policy_preprocessor_step_5_normalizer_processor.safetensors")
    vocabulary = {word: i for i, word in enumerate(WORDS.split())}
    vocabulary |= {f"word{i}": i for i in range(len(vocabulary), 64)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
