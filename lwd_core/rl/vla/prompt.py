"""An instruction as tokens, in the words each kind was trained with.

Always as long as the longest a network takes, so that what a sample's numbers are doesn't hang on the others
of its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.errors import UserError
from lwd_core.rl.vla.config import Kind, VlaConfig

StatePrompt = Literal["real", "padded"]

BINS = 256  # of pi0.5's state
_BOS = "<bos>"


@dataclass(frozen=True)
class Prompter:
    """Instructions, and pi0.5's states, to a network's tokens.

    rows: tokens that have an embedding. first: put before the text; pad: behind it, masked. told: numbers of
    a state that pi0.5's prompts tell; those beyond its real ones are 0, as LeRobot 0.4 has it ("padded").
    """

    kind: Kind
    length: int
    tokenizer: Any
    rows: int
    first: int | None
    pad: int
    told: int

    def __call__(self, instructions: Sequence[str], state: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, L) i64 and where they are text (B, L) bool; state: (B, S), normalised, real dims alone.

        `UserError` for an instruction that is too long: LeRobot cuts it off, and with it pi0.5's last words;
        and for one with a token that has no embedding, as PaliGemma's <image>.
        """
        tokens = torch.full((len(instructions), self.length), self.pad)
        mask = torch.zeros(len(instructions), self.length, dtype=torch.bool)
        if self.kind == "pi05":
            state = F.pad(state, (0, max(0, self.told - state.shape[-1])))
        texts = words(self.kind, instructions, state)
        for row, (text, said) in enumerate(
            zip(self.tokenizer.encode_batch(texts), instructions, strict=True)
        ):
            ids: list[int] = text.ids
            if self.first is not None and ids[:1] != [self.first]:
                ids = [self.first, *ids]
            if len(ids) > self.length:
                raise UserError(
                    f"instruction {said!r}: {len(ids)} tokens; this network takes {self.length}; say it in "
                    "fewer words"
                )
            if unknown := [i for i in ids if i >= self.rows]:
                raise UserError(
                    f"instruction {said!r}: {self.tokenizer.id_to_token(unknown[0])} is a token that this "
                    "network has no embedding of; say it in other words"
                )
            tokens[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = True
        return tokens, mask


def words(kind: Kind, instructions: Sequence[str], state: Tensor) -> list[str]:
    """What the tokens say."""
    if kind != "pi05":
        return [text if text.endswith("\n") else f"{text}\n" for text in instructions]
    cleaned = [text.strip().replace("_", " ").replace("\n", " ") for text in instructions]
    told = [" ".join(map(str, row)) for row in cast(Any, binned(state)).tolist()]
    return [f"Task: {t}, State: {s};\nAction: " for t, s in zip(cleaned, told, strict=True)]


def binned(state: Tensor) -> Tensor:
    """Numbers in [-1, 1] to 0 … 255; -1 for what is below."""
    edges = torch.linspace(-1, 1, BINS + 1, dtype=torch.float64)[:-1]
    return torch.bucketize(state.detach().cpu().double(), edges, right=True) - 1


def read_prompter(file: Path, config: VlaConfig, state_prompt: StatePrompt = "real") -> Prompter:
    """By a tokenizer.json; `UserError` for one of another model."""
    from tokenizers import Tokenizer  # not all that act have it

    if not file.is_file():
        whose = "SmolVLM2-500M-Video-Instruct" if config.kind == "smolvla" else "paligemma-3b-pt-224"
        raise UserError(
            f"{file}: {'a folder' if file.is_dir() else 'no such file'}; a checkpoint's folder holds no "
            f"tokenizer: give the tokenizer.json of {whose}"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no class of its own
        raise UserError(f"{file}: no whole tokenizer.json ({error}); copy it again") from error
    size, rows = tokenizer.get_vocab_size(with_added_tokens=True), config.sizes.vocabulary
    # PaliGemma's has one more, <image>, which is never looked up; embeddings are filled up to round numbers.
    if rows not in (size, size - 1, *(n * -(-size // n) for n in (64, 128))):
        raise UserError(
            f"{file}: {size} tokens, but this checkpoint embeds {rows}: a tokenizer of another model; give "
            "its own"
        )
    first = tokenizer.token_to_id(_BOS)
    if config.kind != "smolvla" and first is None:
        raise UserError(
            f"{file}: no {_BOS}, with which {config.kind}'s prompts begin: a tokenizer of another model"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Prompter(
        config.kind,
        config.prompt_length,
        tokenizer,
        rows,
        None if config.kind == "smolvla" else first,
        tokenizer.token_to_id("<pad>") or 0,
        config.state_dim if state_prompt == "padded" else 0,
    )
