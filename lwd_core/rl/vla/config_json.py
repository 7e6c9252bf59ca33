"""A checkpoint's config.json. Reading refuses what would change what is computed and is not known here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from lwd_core.errors import UserError, suggest
from lwd_core.rl.vla.config import ACTION, CONFIG, IMAGES, STATE, Units, VlaConfig
from lwd_core.rl.vla.sizes import EXPERTS, PALIGEMMA, SMOLVLM, Sizes, expert_of, smolvlm

# Keys by what they do here: read, and of no effect on what is computed.
_READ = {
    "type",
    "input_features",
    "output_features",
    "chunk_size",
    "max_state_dim",
    "max_action_dim",
    "min_period",
    "max_period",
    "normalization_mapping",
    "tokenizer_max_length",
    "dtype",
    "empty_cameras",
}
_SILENT = {
    "n_obs_steps",
    "n_action_steps",
    "device",
    "use_amp",
    "use_peft",
    "push_to_hub",
    "repo_id",
    "private",
    "tags",
    "license",
    "pretrained_path",
    "pretrained_revision",
    "gradient_checkpointing",
    "compile_model",
    "compile_mode",
    "freeze_vision_encoder",
    "train_expert_only",
    "rtc_config",
    "rtc_training_max_delay",
    "action_feature_names",
    "relative_exclude_joints",
    # its own training: how flow time is drawn, and the optimiser
    "time_sampling_beta_alpha",
    "time_sampling_beta_beta",
    "time_sampling_scale",
    "time_sampling_offset",
    "optimizer_lr",
    "optimizer_betas",
    "optimizer_eps",
    "optimizer_weight_decay",
    "optimizer_grad_clip_norm",
    "scheduler_warmup_steps",
    "scheduler_decay_steps",
    "scheduler_decay_lr",
}
_PI = {"paligemma_variant", "action_expert_variant", "image_resolution", "num_inference_steps"}
_BY_KIND = {
    "smolvla": {
        "resize_imgs_with_padding",
        "num_steps",
        "use_cache",
        "train_state_proj",
        "vlm_model_name",
        "load_vlm_weights",
        "attention_mode",
        # masked tokens beyond the text's end: no other number comes out
        "prefix_length",
        "pad_language_to",
        "num_expert_layers",
        "num_vlm_layers",
        "self_attn_every_n_layers",
        "expert_width_multiplier",
    },
    "pi0": _PI,
    "pi05": _PI | {"memory_frames", "memory_stride", "memory_temporal_attention_every"},
}
# Whatever is not known may be there as long as it is off.
_OFF: tuple[Any, ...] = (None, False, 0, -1, "", [], {})
# Beyond it nothing is a width, a length or a period any more.
_MOST = 1 << 20


def read_config(folder: Path, sizes: Sizes | None = None) -> VlaConfig:
    """Of a LeRobot policy's folder. sizes: of a network whose variant has none by name; see `Sizes.read`."""
    return _Reader(folder / CONFIG).config(sizes)


class _Reader:
    """Key by key; every complaint names file and key."""

    def __init__(self, file: Path):
        self.file = file
        try:
            value: object = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{file.parent}: no {file.name}; give a policy's folder as LeRobot writes it"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{file}: not to be read ({error}); copy it again") from error
        if not isinstance(value, dict):
            raise UserError(f"{file}: no JSON object; give a policy's folder as LeRobot writes it")
        self.values = cast(dict[str, Any], value)

    def config(self, sizes: Sizes | None) -> VlaConfig:
        kind: Any = self.values.get("type")
        if str(kind) not in _BY_KIND:
            raise UserError(
                f"{self.file}: type: {kind!r} is no policy that is known{suggest(str(kind), _BY_KIND)}; a "
                "vision-language model of transformers is learned on by network.field's kind: vlm"
            )
        self._refuse_unknown(kind)
        height, width = self._pixels(kind)
        inputs, outputs = self._features("input_features"), self._features("output_features")
        cameras = tuple(n.removeprefix(IMAGES) for n, kept in inputs.items() if kept["type"] == "VISUAL")
        if not cameras:
            raise UserError(f"{self.file}: input_features: no camera; a policy that sees nothing is none")
        state_dim, action_dim = self.number("max_state_dim"), self.number("max_action_dim")
        units = self._units()
        return VlaConfig(
            kind=kind,
            chunk=self.number("chunk_size"),
            action_dim=action_dim,
            real_action_dim=self._width(outputs, "output_features", ACTION, action_dim),
            state_dim=state_dim,
            real_state_dim=self._width(inputs, "input_features", STATE, state_dim),
            cameras=cameras,
            height=height,
            width=width,
            prompt_length=self.number("tokenizer_max_length"),
            sizes=sizes or self._sizes(kind, height),
            steps=self.number("num_steps" if kind == "smolvla" else "num_inference_steps", 10),
            min_period=self.real("min_period", 4e-3),
            max_period=self.real("max_period", 4.0),
            state_units=units["STATE"],
            action_units=units["ACTION"],
            self_attention_every=self._self_attention(kind),
        )

    def number(self, key: str, default: int | None = None) -> int:
        """A positive whole number."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
            raise UserError(f"{self.file}: {key}: {value!r:.40} is no positive whole number up to {_MOST}")
        return value

    def real(self, key: str, default: float) -> float:
        """A number above 0."""
        value = self.values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _MOST:
            raise UserError(f"{self.file}: {key}: {value!r:.40} is no number above 0 and up to {_MOST}")
        return float(value)

    def count(self, key: str, default: int) -> int:
        """A whole number, of which -1 and 0 may mean something."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise UserError(f"{self.file}: {key}: {value!r} is no whole number")
        return value

    def _refuse_unknown(self, kind: str) -> None:
        for key, value in self.values.items():
            if key in _READ | _SILENT | _BY_KIND[kind] or any(value is o or value == o for o in _OFF):
                continue
            raise UserError(
                f"{self.file}: {key}: {value!r} is not supported for {kind}; train without it, or take the "
                "key out "
                "if it changes nothing of what the network computes"
            )

    def _pixels(self, kind: str) -> tuple[int, int]:
        """Height and width. SmolVLA writes them the other way round."""
        key = "resize_imgs_with_padding" if kind == "smolvla" else "image_resolution"
        pair = self.values.get(key)
        numbers = cast(list[Any], pair) if isinstance(pair, list) else []
        if len(numbers) != 2 or not all(type(n) is int and n > 0 for n in numbers):
            raise UserError(f"{self.file}: {key}: {pair!r}, where two numbers of pixels are expected")
        first, second = cast(list[int], numbers)
        if first != second:
            raise UserError(f"{self.file}: {key}: {pair!r}; only square pictures are supported")
        return second, first

    def _features(self, key: str) -> dict[str, dict[str, Any]]:
        value = self.values.get(key)
        if not isinstance(value, dict) or not value:
            raise UserError(f"{self.file}: {key}: missing; it names the policy's senses and actions")
        features = cast(dict[str, dict[str, Any]], value)
        for name, kept in features.items():
            if not isinstance(kept, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise UserError(f"{self.file}: {key}: {name}: {kept!r}, where type and shape are expected")
            if kept.get("type") not in ("VISUAL", "STATE", "ACTION"):
                raise UserError(
                    f"{self.file}: {key}: {name} is of type {kept.get('type')!r}, which is not supported"
                )
            if kept["type"] == "STATE" and name != STATE:
                raise UserError(f"{self.file}: {key}: {name}: only {STATE} is supported")
        return features

    def _width(self, features: Mapping[str, dict[str, Any]], key: str, name: str, padded: int) -> int:
        if name not in features:
            return padded  # what LeRobot makes of a policy that doesn't say
        shape = features[name].get("shape")
        numbers = cast(list[Any], shape) if isinstance(shape, list) else []
        if len(numbers) != 1 or type(numbers[0]) is not int or numbers[0] < 1:
            raise UserError(f"{self.file}: {key}: {name} has shape {shape}; one dimension is expected")
        if numbers[0] > padded:
            raise UserError(
                f"{self.file}: {key}: {name} has {numbers[0]} numbers, but the network takes {padded}; give "
                "the config.json that it was trained with"
            )
        return numbers[0]

    def _units(self) -> dict[str, Units]:
        said: object = self.values.get("normalization_mapping")
        mapping = cast(dict[str, Any], said) if isinstance(said, dict) else {}
        known = get_args(Units)
        for name in ("STATE", "ACTION"):
            if str(mapping.get(name)).lower() not in known:
                raise UserError(
                    f"{self.file}: normalization_mapping: {name}: {mapping.get(name)!r}, where "
                    f"{', '.join(known).upper()} are known; say what it was trained with"
                )
        if mapping.get("VISUAL", "IDENTITY") != "IDENTITY":
            raise UserError(f"{self.file}: normalization_mapping: VISUAL: only IDENTITY is supported")
        return {name: cast(Units, str(mapping[name]).lower()) for name in ("STATE", "ACTION")}

    def _sizes(self, kind: str, pixels: int) -> Sizes:
        if kind == "smolvla":
            return self._smolvla(pixels)
        own = Sizes.read(self.file.parent)
        if own is not None:
            return own.seeing(pixels)
        text, expert = (self.values.get(k) for k in ("paligemma_variant", "action_expert_variant"))
        for key, variant, known in (
            ("paligemma_variant", text, PALIGEMMA),
            ("action_expert_variant", expert, EXPERTS),
        ):
            if str(variant) not in known:
                raise UserError(f"{self.file}: {key}: {variant!r} is not known{suggest(str(variant), known)}")
        return PALIGEMMA[str(text)].seeing(pixels).acting(EXPERTS[str(expert)])

    def _smolvla(self, pixels: int) -> Sizes:
        if self.count("num_expert_layers", -1) > 0:
            raise UserError(
                f"{self.file}: num_expert_layers: only as many as the backbone has (-1) are supported"
            )
        name = str(self.values.get("vlm_model_name", ""))
        sizes = smolvlm(self.file.parent / name) or SMOLVLM.get(name.rpartition("/")[2])
        if sizes is None:
            raise UserError(
                f"{self.file}: vlm_model_name: {name!r} is no model that is known, nor a folder beside with "
                "its "
                "config.json; put that one into the folder"
            )
        layers = self.count("num_vlm_layers", 16)
        kept = sizes.text if layers < 1 else sizes.text.first(layers)
        scale = self.real("expert_width_multiplier", 0.75)
        return sizes.reading(kept).seeing(pixels).acting(expert_of(kept, scale))

    def _self_attention(self, kind: str) -> int:
        if kind != "smolvla" or "cross" not in str(self.values.get("attention_mode", "cross_attn")):
            return 1
        return max(0, self.count("self_attn_every_n_layers", 2))
