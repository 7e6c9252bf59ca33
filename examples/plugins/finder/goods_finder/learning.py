"""How the finder learns where goods are, and the reader what an order means."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from goods_finder.kinds import KINDS
from goods_finder.network import CELL, ROWS, SIZE, FinderNetwork, in_units
from goods_finder.reader import OrderWords
from goods_finder.scenes import Labelled
from lwd_core.extend import InstructionEncoder
from lwd_core.fleet.sim.orders import PLACES, written

BATCH, _RATE = 16, 3e-3
_SPREAD = 0.8  # cells, of what a heat map shall look like
_TOGETHER, _FITS, _FAR = 64, 4, 0.15  # pictures; fits of the readout; units
_READING, _READING_RATE = 400, 0.03  # updates with all texts at once


def teach(network: FinderNetwork, scenes: Labelled, passes: int) -> Iterator[float]:
    """Go over the pictures, half of them as in a mirror; the mean loss of each pass."""
    generator = np.random.default_rng(0)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), _RATE)
    count = len(scenes.pictures) // BATCH
    schedule = OneCycleLR(optimiser, _RATE, total_steps=count * passes, pct_start=0.1)
    for _ in range(passes):
        total = 0.0
        for rows in generator.permutation(len(scenes.pictures))[: count * BATCH].reshape(count, -1):
            optimiser.zero_grad()
            loss = _loss(network, _mirrored(scenes, rows, generator))
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) / count
        yield total


@torch.no_grad()
def calibrate(network: FinderNetwork, scenes: Labelled) -> None:
    """Fit the readout by least squares to what the pictures show; what is far off, as it is hidden, counts
    little."""
    seen, true = list[Tensor](), list[Tensor]()
    for first in range(0, len(scenes.pictures), _TOGETHER):
        some = Labelled(*(torch.as_tensor(column[first : first + _TOGETHER]) for column in scenes))
        heat, rough = network.maps(some.pictures)
        shown = (network.there(heat) > 0) & some.there
        seen.append(network.seen(heat, rough)[shown])
        true.append(in_units(some.places)[shown])
    terms, places = torch.cat(seen), torch.cat(true)
    weight = torch.ones(len(terms), 1)
    for _ in range(_FITS):
        found = torch.linalg.lstsq(terms * weight.sqrt(), places * weight.sqrt()).solution
        off = (terms @ found - places).norm(dim=-1, keepdim=True)
        weight = 1 / (1 + (off / _FAR).square())
    network.readout.weight.copy_(found.T)


def _mirrored(scenes: Labelled, rows: np.ndarray, generator: np.random.Generator) -> Labelled:
    some = Labelled(*(column[rows] for column in scenes))
    flip = generator.random(len(rows)) < 0.5
    some.pictures[flip] = some.pictures[flip, :, ::-1]
    some.places[flip, :, 0] *= -1  # the camera stands in the plane x = 0
    some.pixels[flip, :, 0] = 1 - some.pixels[flip, :, 0]
    return some


def _loss(network: FinderNetwork, scenes: Labelled) -> Tensor:
    there = torch.as_tensor(scenes.there)
    heat, places = network.maps(torch.as_tensor(scenes.pictures))
    wanted = _wanted(torch.as_tensor(scenes.pixels)[there])
    shown = -(wanted * heat[there].log_softmax(-1)).sum(-1).mean()
    at = (wanted[:, None] @ places.mT[there.nonzero()[:, 0]]).squeeze(1)
    placed = F.smooth_l1_loss(at, in_units(torch.as_tensor(scenes.places)[there]), beta=0.1)
    return shown + 5 * placed + F.binary_cross_entropy_with_logits(network.there(heat), there.float())


def _wanted(pixels: Tensor) -> Tensor:
    """Heat maps (n, cells) that sum to 1 of things shown there (n, 2)."""
    rows, columns = (ROWS.stop - ROWS.start) // CELL, SIZE // CELL
    column = (pixels[:, :1] * SIZE / CELL - 0.5).clamp(0, columns - 1)
    row = ((pixels[:, 1:] * SIZE - ROWS.start) / CELL - 0.5).clamp(0, rows - 1)
    along = -(torch.arange(columns) - column).square() / (2 * _SPREAD**2)
    down = -(torch.arange(rows) - row).square() / (2 * _SPREAD**2)
    return (down[:, :, None] + along[:, None, :]).flatten(1).softmax(-1)


def texts(words: str) -> tuple[list[str], Tensor, Tensor]:
    """Every order of one delivery in each wording of ``train`` or ``unseen``; its kind and its shelf (n,)."""
    said = [
        (wording["first"].format(item=goods, place=place), kind, shelf)
        for wording in written()[words]
        for kind, goods in enumerate(KINDS)
        for shelf, place in enumerate(PLACES)
    ]
    lines, kinds, shelves = zip(*said, strict=True)
    return list(lines), torch.tensor(kinds), torch.tensor(shelves)


def reading() -> OrderWords:
    """What the wordings of ``train`` mean."""
    lines, kind, shelf = texts("train")
    embedded = InstructionEncoder()(lines)
    words = OrderWords(embedded.shape[1])
    optimiser = torch.optim.AdamW(words.parameters(), _READING_RATE, weight_decay=0.01)
    for step in range(_READING):
        optimiser.param_groups[0]["lr"] = _READING_RATE * (1 + math.cos(math.pi * step / _READING)) / 2
        optimiser.zero_grad()
        kinds, shelves = words(embedded)
        (F.cross_entropy(kinds, kind) + F.cross_entropy(shelves, shelf)).backward()
        optimiser.step()
    return words


@torch.no_grad()
def places_missed(network: FinderNetwork, scenes: Labelled) -> dict[str, float]:
    """Errors on the table, in centimetres, of goods that are found; shares of goods that are found, and of
    what is found that is there."""
    there = torch.as_tensor(scenes.there)
    logits, places = network.found(torch.as_tensor(scenes.pictures))
    found = (logits > 0) & there
    off = (places - in_units(torch.as_tensor(scenes.places)))[found][:, :2].norm(dim=-1) * 10
    shares = torch.tensor([0.5, 0.9, 0.99])
    median, p90, p99 = off.quantile(shares).tolist() if len(off) else [math.nan] * 3
    return {
        "median": median,
        "p90": p90,
        "p99": p99,
        "found": float(found.sum() / there.sum()),
        "right": float(found.sum() / (logits > 0).sum()),
    }


@torch.no_grad()
def words_read(words: OrderWords) -> tuple[float, float]:
    """Shares of the ``unseen`` wordings of every order whose kind, and whose shelf, is read rightly."""
    lines, kind, shelf = texts("unseen")
    kinds, shelves = words(InstructionEncoder()(lines))
    right = kinds.argmax(-1) == kind, shelves.argmax(-1) == shelf
    return float(right[0].float().mean()), float(right[1].float().mean())
