"""A vision-language model of transformers in a local folder, and what it makes of words and pictures.

Words and pictures are prepared by the folder's own processor. Nothing is downloaded, no code of the folder's
is run, and pickles are refused.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.extras import require
from lwd_core.rl.vla.checkpoint import digest
from lwd_core.rl.vla.generic import HiddenPrefix
from storage_schemas.policy import BASE_MANIFEST

#: What transformers reads of a folder, pickles left out.
_READ = (".json", ".jinja", ".model", ".safetensors", ".txt")
_WHERE = "network.field.folder"


class VlmFolder:
    """Model and processor; `UserError` for what transformers can't read, and says why."""

    def __init__(self, path: Path, dtype: torch.dtype = torch.float32):
        require("transformers")
        if not (path / "config.json").is_file():
            raise UserError(f"{_WHERE}: {path}: no config.json; give a transformers model's folder")
        if not list(path.glob("*.safetensors")):
            raise UserError(
                f"{_WHERE}: {path}: no *.safetensors; save the model by save_pretrained, for pickles "
                "are not read"
            )
        self.path = path
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self.processor = _processor(path)
        self.model = _model(path).to(dtype).requires_grad_(False).eval()
        self.width = _width(path, self.model)

    @property
    def files(self) -> dict[str, Path]:
        """Those that say what it computes, by name."""
        return {
            p.name: p
            for p in sorted(self.path.iterdir())
            if p.suffix in _READ and p.is_file() and p.name != BASE_MANIFEST
        }

    @cached_property
    def digests(self) -> dict[str, str]:
        """Their sha256."""
        return {name: digest(path) for name, path in self.files.items()}

    def inputs(self, texts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> dict[str, Tensor]:
        """What the model is given for B texts and for each its pictures (h, w, 3) u8. `UserError` for a text
        with the token that stands for a picture."""
        asked = [self._asked(text, len(shown)) for text, shown in zip(texts, pictures, strict=True)]
        made = self.processor(
            text=asked, images=[list(shown) for shown in pictures], padding=True, return_tensors="pt"
        )
        return dict(made)

    @torch.no_grad()
    def hidden(self, inputs: Mapping[str, Tensor]) -> HiddenPrefix:
        """Run the model."""
        there = next(self.model.parameters())
        given = {
            name: value.to(there.device, there.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        tokens: Tensor = self.model(**given).last_hidden_state
        present = given["attention_mask"].bool()
        if tokens.shape[:2] != present.shape:
            raise ValueError(
                f"{tokens.shape[1]} hidden states for {present.shape[1]} tokens: which count isn't told"
            )
        return HiddenPrefix(tokens.float(), present)

    def probe(self, cameras: int, height: int, width: int) -> None:
        """Show it black pictures; `UserError` where model and processor don't agree."""
        shown = [torch.zeros(height, width, 3, dtype=torch.uint8).numpy()] * cameras
        try:
            self.hidden(self.inputs(["go"], [shown]))
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, AttributeError) as error:
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{_WHERE}: {self.path}: its model and its processor don't go together ({line}); try them in "
                "transformers on one picture, or give another model"
            ) from error

    def _asked(self, text: str, cameras: int) -> str:
        """By the folder's chat template; without one, a place for each picture and then the text."""
        stands = getattr(self.processor, "image_token", None)
        if isinstance(stands, str) and stands in text:
            raise UserError(
                f"instruction {text!r}: {stands} stands for a picture in this model's words; say it in others"
            )
        if getattr(self.processor, "chat_template", None):
            content = [{"type": "image"} for _ in range(cameras)] + [{"type": "text", "text": text}]
            turn = [{"role": "user", "content": content}]
            return self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return f"{self.processor.image_token * cameras} {text}"


def _processor(path: Path) -> Any:
    from transformers import AutoProcessor

    made = _opened(path, AutoProcessor)
    words = getattr(made, "tokenizer", None)
    if words is None or getattr(made, "image_processor", None) is None:
        raise UserError(
            f"{_WHERE}: {path}: {type(made).__name__} prepares no pictures beside words; give a "
            "vision-language model with its processor's files"
        )
    if not getattr(made, "chat_template", None) and not isinstance(getattr(made, "image_token", None), str):
        raise UserError(
            f"{_WHERE}: {path}: neither a chat template nor an image token says where pictures stand among "
            "the words; save the processor with one (chat_template.jinja)"
        )
    words.padding_side = "right"  # what comes behind changes nothing of a text's own hidden states
    return made


def _model(path: Path) -> nn.Module:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # it reports the head that says words, which nobody asks for
    try:
        model, found = _opened(path, AutoModel, use_safetensors=True, output_loading_info=True)
    finally:
        logging.set_verbosity(loud)
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"{_WHERE}: {path}: {missing[0]}{more}: missing, and transformers would make them up; give the "
            "whole checkpoint"
        )
    return model


def _opened(path: Path, by: Any, **more: Any) -> Any:
    try:
        return by.from_pretrained(str(path), local_files_only=True, trust_remote_code=False, **more)
    except Exception as error:  # each model raises its own
        said = (line.strip() for line in str(error).splitlines())
        line = next(filter(None, said), type(error).__name__)
        raise UserError(
            f"{_WHERE}: {path}: no vision-language model that transformers reads ({line}); see that its "
            "files are whole and of a kind this transformers knows"
        ) from error


def _width(path: Path, model: nn.Module) -> int:
    try:
        return int(cast(Any, model).config.get_text_config().hidden_size)
    except AttributeError as error:
        raise UserError(f"{_WHERE}: {path}: config.json: text_config has no hidden_size") from error
