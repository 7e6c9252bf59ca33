"""Small networks of which several agree on a number in [0, 1], trained side by side, folds and all.

Torch trains them; whoever labels by them needs numpy alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Networks that vote, their width, and standard deviations beyond which an input says no more.
VOTES, WIDTH, FAR = 3, 64, 6.0
UPDATES, BATCH, RATE, DECAY = 400, 128, 3e-3, 0.1
_LAYERS = ("w1", "b1", "w2", "b2", "w3", "b3")


@dataclass(frozen=True)
class Networks:
    """``VOTES`` networks of two hidden layers over standardised inputs; weights have the vote first."""

    mean: Array
    scale: Array
    layers: Sequence[Array]

    def __call__(self, inputs: Array) -> Array:
        """Logits (N,) of inputs (N, D): the votes' mean."""
        values = _standard(inputs, self.mean, self.scale)[None]
        w1, b1, w2, b2, w3, b3 = self.layers
        return (_silu(_silu(values @ w1 + b1) @ w2 + b2) @ w3 + b3)[..., 0].mean(0)

    def arrays(self) -> dict[str, Array]:
        """What they consist of, by name."""
        return {"mean": self.mean, "scale": self.scale, **dict(zip(_LAYERS, self.layers, strict=True))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """What `arrays` gave."""
        return cls(arrays["mean"], arrays["scale"], [arrays[name] for name in _LAYERS])


def learn(inputs: Array, targets: Array, fold: np.ndarray, seed: int = 0) -> tuple[Networks, Array]:
    """Networks that learned of all samples (N, D); logits (N,) of each by others that saw none of its fold.

    ``targets`` (N,) are in [0, 1]. The same inputs and seed give the same networks.
    """
    import torch
    from torch.nn import functional as F

    spread = inputs.std(0)
    alive = spread > 1e-6 * (1 + np.abs(inputs).max(0))
    mean, scale = inputs.mean(0), np.where(alive, 1 / np.where(alive, spread, 1), 0)
    x = torch.as_tensor(_standard(inputs, mean, scale)).float()
    y = torch.as_tensor(targets).float()
    parts = [*np.unique(fold).tolist(), None]
    rows = [torch.as_tensor(np.flatnonzero(fold != part)) for part in parts for _ in range(VOTES)]
    sizes = torch.tensor([len(own) for own in rows]).float()[:, None]
    table = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    draw = torch.Generator().manual_seed(seed)
    count, width = len(rows), inputs.shape[1]
    layers = [
        layer.requires_grad_()
        for ins, outs in ((width, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))
        for layer in (
            (torch.rand(count, ins, outs, generator=draw) * 2 - 1) / max(1, ins) ** 0.5,
            torch.zeros(count, 1, outs),
        )
    ]

    def logits(values: torch.Tensor, of: slice) -> torch.Tensor:
        w1, b1, w2, b2, w3, b3 = (layer[of] for layer in layers)
        return (F.silu(F.silu(values @ w1 + b1) @ w2 + b2) @ w3 + b3)[..., 0]

    optimizer: Any = torch.optim.AdamW(layers, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    for _ in range(UPDATES):
        at = table.gather(1, (torch.rand(count, BATCH, generator=draw) * sizes).long())
        loss = F.binary_cross_entropy_with_logits(logits(x[at], slice(None)), y[at])
        optimizer.zero_grad()
        torch.autograd.backward(loss * count)  # each network's own mean
        optimizer.step()
        schedule.step()
    held = np.zeros(len(targets))
    with torch.no_grad():
        for i, part in enumerate(parts[:-1]):
            out = fold == part
            held[out] = logits(x[out][None], slice(i * VOTES, (i + 1) * VOTES)).mean(0).double().numpy()
        own = [layer[-VOTES:].double().numpy() for layer in layers]
    return Networks(mean, scale, own), held


def sigmoid(logit: Array) -> Array:
    """In (0, 1)."""
    return 0.5 * (1 + np.tanh(0.5 * logit))


def _standard(inputs: Array, mean: Array, scale: Array) -> Array:
    return np.clip((inputs - mean) * scale, -FAR, FAR)


def _silu(values: Array) -> Array:
    return values * sigmoid(values)
