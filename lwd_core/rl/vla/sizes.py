"""Sizes of the networks that have a name: a checkpoint's config.json says the name and not the numbers."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from lwd_core.config_file import faults
from lwd_core.errors import UserError

SIZES = "sizes.json"

# A network is made, without its numbers, before its file is looked at: one that says more than any has would
# take all memory for that.
Numbers = Annotated[int, Field(ge=1, le=1 << 20)]
Layers = Annotated[int, Field(ge=1, le=1 << 10)]
Eps = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class PictureSizes:
    """A vision transformer on square pictures of ``image`` pixels, in patches of ``patch``."""

    width: Numbers
    hidden: Numbers
    layers: Layers
    heads: Numbers
    patch: Numbers
    image: Numbers
    eps: Eps = 1e-6

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads}, which do not divide the width {self.width}")

    @property
    def patches(self) -> int:
        """Tokens of a picture."""
        return (self.image // self.patch) ** 2


@dataclass(frozen=True)
class StackSizes:
    """A stack of decoder layers with grouped queries."""

    width: Numbers
    hidden: Numbers
    layers: Layers
    heads: Numbers
    kv_heads: Numbers
    head_dim: Numbers
    eps: Eps = 1e-6

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: {self.kv_heads}, which do not divide the {self.heads} heads")
        if self.head_dim % 2:
            raise ValueError(f"head_dim: {self.head_dim}; it is turned in pairs")

    def first(self, layers: int) -> "StackSizes":
        """Its first layers alone."""
        return replace(self, layers=min(layers, self.layers))


@dataclass(frozen=True)
class Sizes:
    """Of a whole network. vocabulary: rows of the token embedding. shuffle: s, for s × s patches to a
    token."""

    vision: PictureSizes
    text: StackSizes
    expert: StackSizes
    vocabulary: Numbers
    shuffle: Numbers = 1

    @property
    def picture_tokens(self) -> int:
        """N, tokens of one picture in the prefix."""
        return self.vision.patches // self.shuffle**2

    def seeing(self, pixels: int) -> "Sizes":
        """With pictures of so many pixels."""
        return replace(self, vision=replace(self.vision, image=pixels))

    def reading(self, text: StackSizes) -> "Sizes":
        """With another stack for the text."""
        return replace(self, text=text)

    def acting(self, expert: StackSizes) -> "Sizes":
        """With another action expert."""
        return replace(self, expert=expert)

    @classmethod
    def read(cls, folder: Path) -> "Sizes | None":
        """Those of a ``sizes.json`` beside config.json, for a network that is none of the named; None without
        it."""
        file = folder / SIZES
        if not file.exists():
            return None
        try:
            return TypeAdapter(cls).validate_json(file.read_bytes())
        except ValidationError as error:
            raise UserError(faults(error, str(file))) from error
        except OSError as error:
            raise UserError(f"{file}: not to be read ({error}); copy it again") from error


_GEMMA_300M = StackSizes(1024, 4096, 18, 8, 1, 256)
_GEMMA_2B = StackSizes(2048, 16_384, 18, 8, 1, 256)
_SO400M = PictureSizes(1152, 4304, 27, 16, 14, 224)

EXPERTS = {"gemma_300m": _GEMMA_300M, "gemma_2b": _GEMMA_2B}
PALIGEMMA = {name: Sizes(_SO400M, text, _GEMMA_300M, 257_152) for name, text in EXPERTS.items()}


def expert_of(text: StackSizes, scale: float) -> StackSizes:
    """SmolVLA's expert: as its backbone's text, narrower; two thirds of four times the width, in 256s."""
    width = int(text.width * scale)
    hidden = int(4 * int(2 * width / 3))
    return replace(text, width=width, hidden=256 * -(-hidden // 256))


_SMOL = StackSizes(960, 2560, 32, 15, 5, 64, 1e-5)
SMOLVLM = {
    "SmolVLM2-500M-Video-Instruct": Sizes(
        PictureSizes(768, 3072, 12, 12, 16, 512), _SMOL, expert_of(_SMOL, 0.75), 49_280, 4
    )
}


def smolvlm(folder: Path) -> Sizes | None:
    """Those of a transformers SmolVLM folder's config.json; None without it."""
    file = folder / "config.json"
    try:
        if not file.is_file():
            return None
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        text, vision = value["text_config"], value["vision_config"]
        stack = {
            "width": text["hidden_size"],
            "hidden": text["intermediate_size"],
            "layers": text["num_hidden_layers"],
            "heads": text["num_attention_heads"],
            "kv_heads": text["num_key_value_heads"],
            "head_dim": text["head_dim"],
            "eps": text["rms_norm_eps"],
        }
        pictures = {
            "width": vision["hidden_size"],
            "hidden": vision["intermediate_size"],
            "layers": vision["num_hidden_layers"],
            "heads": vision["num_attention_heads"],
            "patch": vision["patch_size"],
            "image": vision["image_size"],
            "eps": vision.get("layer_norm_eps", 1e-6),
        }
        sizes = {"vision": pictures, "text": stack, "expert": stack}
        sizes |= {"vocabulary": text["vocab_size"], "shuffle": value["scale_factor"]}
        return TypeAdapter(Sizes).validate_python(sizes)
    except KeyError as error:
        raise UserError(f"{file}: {error.args[0]}: missing; it is no SmolVLM's configuration") from error
    except ValidationError as error:
        said = faults(error, "sizes")
        raise UserError(f"{file}: no SmolVLM's configuration ({said}); copy it again") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: no SmolVLM's configuration ({error}); copy it again") from error
