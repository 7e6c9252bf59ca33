"""Whether a checkpoint and a run's data fit each other; `UserError` where they don't."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.rl.encoders import VisionConfig
from lwd_core.rl.fields import Measured
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.vla.config import ACTION, STATE, Units, VlaConfig
from lwd_core.rl.vla.statistics import NEEDED, VlaStatistics
from lwd_core.rl.vla.units import middle

if TYPE_CHECKING:
    from lwd_core.rl.vla.kind import Vla

#: Normalised by statistics of its own, data lie within; by those of other units hardly ever.
FAR = 4.0
#: Spread below which a number stood still.
_STILL = 1e-6


def seen_by(
    cameras: Sequence[str],
    pixels: tuple[int, int] | None,
    sizes: Mapping[tuple[str, str], tuple[int, int]],
) -> VisionConfig:
    """The lake's cameras at ``pixels`` (height, width), or as they were taken; ``sizes``: see
    `FieldKind.sees`."""
    if missing := set(cameras) - {camera for _, camera in sizes}:
        there = ", ".join(sorted({camera for _, camera in sizes})) or "none"
        raise UserError(
            f"network.field.cameras: the snapshot has no {min(missing)}, only {there}; name it in the "
            "snapshot's spec (of a map, the lake's name comes first, then the checkpoint's)"
        )
    found = {at: size for at, size in sizes.items() if at[1] in cameras}
    if pixels is None and len(set(found.values())) > 1:
        each = ", ".join(f"{camera} of {name} {w}x{h}" for (name, camera), (h, w) in found.items())
        raise UserError(
            f"network.field.pixels: pictures of several sizes ({each}); say to which height and width "
            "they are scaled"
        )
    height, width = pixels or next(iter(found.values()))
    return VisionConfig(tuple(cameras), height, width)


def fits(kind: "Vla", own: VlaConfig, net: FieldConfig, measured: Measured) -> None:
    where = f"network.field.folder: {kind.folder}"
    for name in kind.cameras.values():
        if name not in own.cameras:
            raise UserError(
                f"network.field.cameras: {kind.folder} has no camera {name}, only {', '.join(own.cameras)}"
            )
    if net.chunk > own.chunk:
        raise UserError(
            f"{where} acts in chunks of {own.chunk}, the snapshot's are of {net.chunk}; build it with "
            f"`chunk` {own.chunk}, or train with `chunk` {own.chunk}"
        )
    for what, have, real, padded in (
        ("states", net.encoder.state_dim, own.real_state_dim, own.state_dim),
        ("actions", net.action_dim, own.real_action_dim, own.action_dim),
    ):
        if have > padded:
            raise UserError(f"{where} takes {what} of at most {padded} numbers, the snapshot's have {have}")
        if have != real and kind.statistics == "checkpoint":
            raise UserError(
                f"{where} was trained on {what} of {real} numbers, the snapshot's have {have}; for another "
                "robot set network.field.statistics to snapshot"
            )


def of_snapshot(own: VlaConfig, measured: Measured) -> VlaStatistics:
    """The data's statistics in the checkpoint's kind of units."""
    pairs = list[tuple[Tensor, Tensor]]()
    kinds: list[tuple[str, Units, Mapping[str, Tensor]]] = [
        (STATE, own.state_units, measured.state),
        (ACTION, own.action_units, measured.action),
    ]
    for what, units, values in kinds:
        names = NEEDED[units]
        if missing := [name for name in names if name not in values]:
            raise UserError(
                f"network.field.statistics: a snapshot has no {missing[0]} of {what}, which {units} needs; "
                "use the checkpoint's"
            )
        width = len(next(iter(values.values())))
        first, second = [values[name].float() for name in names] or [torch.zeros(width), torch.ones(width)]
        pairs.append((first, second))
    return VlaStatistics(own.state_units, _moving(own.state_units, *pairs[0]), own.action_units, pairs[1])


def _moving(units: Units, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """A state's statistics by which a number that stood still in the data is told as it is, from where it
    stood: divided by nothing, it would drown all others on the day it moves."""
    if units == "mean_std":
        return first, torch.where(second < _STILL, 1.0, second)
    still = second - first < _STILL
    return torch.where(still, first - 1, first), torch.where(still, second + 1, second)


def plausible(kind: "Vla", statistics: VlaStatistics, measured: Measured) -> None:
    """Whether the data are in the units the checkpoint was trained in: a degree is not a radian."""
    for what, scaled, values in (
        ("state", statistics.state, measured.state),
        ("action", statistics.action, measured.action),
    ):
        far: list[int] = np.flatnonzero(scaled(values["mean"].float()).abs() > FAR).tolist()
        there = {dim for own in measured.places.values() for dim in getattr(own, what)}
        for dim in far if not there else sorted(there & set(far)):
            raise UserError(
                f"network.field.statistics: {kind.folder} knows number {dim} of {what} around "
                f"{middle(statistics, what)[dim]:.4g}, in the snapshot it is around "
                f"{values['mean'][dim]:.4g}: other units, or another robot; mend the embodiment file, or set "
                "network.field.statistics to snapshot"
            )
