"""Numbers of several embodiments in the order of one network, by their dims' names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.errors import UserError, suggest


@dataclass(frozen=True)
class Places:
    """Where each number of an embodiment's states and actions stands among a network's; ``widths``: how many
    states and actions that has."""

    state: tuple[int, ...]
    action: tuple[int, ...]
    widths: tuple[int, int]

    @staticmethod
    def of(
        names: tuple[Sequence[str], Sequence[str]], of_network: tuple[Sequence[str], Sequence[str]], who: str
    ) -> "Places":
        """By the names of states and actions of both. UserError, which begins with ``who``, for a number that
        the network hasn't."""
        found = list[tuple[int, ...]]()
        for what, own, network in zip(("state", "action"), names, of_network, strict=True):
            for name in own:
                if name not in network:
                    raise UserError(
                        f"{who}: {what} {name} is not among {', '.join(network)}"
                        f"{suggest(name, list(network))}; rename the dim in the embodiment file, or name it "
                        "in the network's"
                    )
            found.append(tuple(network.index(name) for name in own))
        return Places(found[0], found[1], (len(of_network[0]), len(of_network[1])))


def arranged(
    raw: Mapping[str, Tensor], places: Mapping[str, Places], blank: Tensor, width: int
) -> dict[str, Tensor]:
    """A loader's batch in the network's order.

    ``raw["embodiment"]`` (B,) counts in ``places``; blank: (S,), what stands for a state an embodiment has
    not; width: D of the network's actions, of which ``action_dim_mask`` is 1 on those an embodiment has.
    """
    count, chunk, _ = raw["action"].shape
    moved = {name: blank.repeat(count, 1) for name in ("state", "next_state") if name in raw}
    moved["action"] = raw["action"].new_zeros(count, chunk, width)
    moved["action_dim_mask"] = raw["action_dim_mask"].new_zeros(count, width)
    for i, own in enumerate(places.values()):
        rows = (raw["embodiment"] == i).nonzero()
        state, action = torch.tensor(own.state), torch.tensor(own.action)
        for name in moved.keys() - {"action", "action_dim_mask"}:
            moved[name][rows, state] = raw[name][rows, torch.arange(len(state))]
        moved["action_dim_mask"][rows, action] = 1
        moved["action"][rows, :, action] = raw["action"][rows, :, torch.arange(len(action))]
    return {**raw, **moved}


def chosen(places: Mapping[str, Places], width: int, embodiment: str = "") -> Places:
    """Those of the embodiment, or of the only one whose states are so wide. UserError where none is."""
    known = ", ".join(f"{name} ({len(own.state)})" for name, own in places.items())
    fit = {
        name: own for name, own in places.items() if name == (embodiment or name) and len(own.state) == width
    }
    if len({(own.state, own.action) for own in fit.values()}) != 1:
        why = "fit several of" if fit else "fit none of"
        raise UserError(
            f"states of {width} numbers {why} the embodiments it learned from, {known}"
            + ("; say whose they are" if fit else "; check the robot's embodiment file")
        )
    return next(iter(fit.values()))
