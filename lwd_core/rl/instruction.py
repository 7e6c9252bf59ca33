"""Frozen sentence embeddings of instructions: all-MiniLM-L6-v2, carried by a Python package."""

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.minilm import WIDTH, MiniLM


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
        words, _ = _model()([text])
        # Mean over words and unit length is how the model was trained to be compared.
        return F.normalize(words[0].mean(0), dim=0)


@cache
def _model() -> MiniLM:
    return MiniLM()


@torch.no_grad()
def sentence_vectors(texts: Sequence[str], together: int = 64) -> npt.NDArray[np.float32]:
    """Unit vectors (N, 384) to compare sentences by, many at a time.

    Their last bits depend on what they were embedded beside: a policy takes `InstructionEncoder`'s.
    """
    found = np.zeros((len(texts), WIDTH), np.float32)
    model = _model()
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of a length need no padding
    for first in range(0, len(texts), together):
        some = order[first : first + together]
        states, own = model([texts[int(i)] for i in some])
        mask = own[..., None]
        found[some] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy()
    return found
