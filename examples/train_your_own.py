"""A model of one's own, trained on a snapshot: behaviour cloning in a torch loop of a few lines.

    python examples/train_your_own.py

The lake freezes what is learned from, the loader gives batches that are a function of seed and step, and the
loop is yours. ``compare_methods.py`` trains with the platform's learners instead.
"""

import tempfile

import torch
from point_robot import make_lake
from torch import nn

import lwd_core as lwd


def train(snapshot: lwd.Snapshot, updates: int = 300, seed: int = 0) -> tuple[nn.Module, list[float]]:
    """A network from states (B, S) to actions (B, D), and its loss at each update."""
    torch.manual_seed(seed)
    scale = snapshot.stats["state"]  # norm statistics of the train split
    mean, std = torch.from_numpy(scale["mean"]), torch.from_numpy(scale["std"]).clamp(min=1e-3)
    model = nn.Sequential(nn.Linear(len(mean), 64), nn.GELU(), nn.Linear(64, 2), nn.Tanh())
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _, batch in zip(range(updates), snapshot.loader(batch=128, seed=seed), strict=False):
        predicted = model((batch["state"] - mean) / std)
        loss = (predicted - batch["action"][:, 0]).square().mean()  # (B, H, D): the chunk's first action
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses


if __name__ == "__main__":
    lake = make_lake(tempfile.mkdtemp())
    snapshot = lake.snapshot({"name": "successes", "outcomes": ["success"], "chunk": 4, "holdout": 0.2})
    print(snapshot)
    model, losses = train(snapshot)
    print(f"loss {losses[0]:.3f} at the beginning, {losses[-1]:.3f} after {len(losses)} updates")
