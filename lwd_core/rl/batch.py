"""A minibatch as the losses see it: normalised, flattened, masked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.compute.parallel import largest, total
from lwd_core.rl.encoders import Observation
from lwd_core.rl.fields import PolicyUnits


@dataclass(frozen=True)
class Batch:
    """B transitions; A = H·W, W ≥ D numbers of an action as the network has it.

    action: (B, A) executed, 0 where it does not count. mask: (B, A), 1 on valid frames of real dims.
    dim_mask: (B, A), 1 on real dims whatever the frame; None when all are real or
    padding is noise.
    reward: Σ γ^i r over the window; discount: γ^frames to the bootstrap, 0 after a terminal; success:
    the episode's outcome; human: a person chose the chunk; finished: of a success, and no person
    ended the turn it was chosen in by taking over. All five (B,) float. task: (B,) int64.
    rows: (B,) of ``total``, where these transitions stand in the batch all workers share; None alone.
    """

    observation: Observation
    next_observation: Observation
    action: Tensor
    mask: Tensor
    dim_mask: Tensor | None
    reward: Tensor
    discount: Tensor
    success: Tensor
    human: Tensor
    finished: Tensor
    task: Tensor
    rows: Tensor | None = None
    total: int = 0

    def to(self, device: torch.device) -> "Batch":
        """On another device. ``rows`` stay: they pick from random numbers, which are drawn on the CPU."""

        def moved(value: Any) -> Any:
            if isinstance(value, Observation):
                return Observation(*map(moved, value))
            return value.to(device) if isinstance(value, Tensor) else value

        values: dict[str, Any] = {f.name: moved(getattr(self, f.name)) for f in fields(self)}
        values["rows"] = self.rows
        return Batch(**values)

    def every(self, stride: int) -> "Batch":
        """Each ``stride``-th transition: a smaller batch of the same mixture."""
        if stride == 1:
            return self

        def rows(value: Tensor) -> Tensor:
            return value[::stride].contiguous()

        def seen(o: Observation) -> Observation:
            return o._replace(**{name: rows(v) for name, v in o._asdict().items() if v is not None})

        return Batch(
            seen(self.observation),
            seen(self.next_observation),
            rows(self.action),
            rows(self.mask),
            None if self.dim_mask is None else rows(self.dim_mask),
            rows(self.reward),
            rows(self.discount),
            rows(self.success),
            rows(self.human),
            rows(self.finished),
            rows(self.task),
            None if self.rows is None else rows(self.rows) // stride,
            self.total // stride,
        )


def prepare(
    raw: Mapping[str, Tensor],
    units: PolicyUnits,
    embeddings: Tensor,
    size: int = 0,
    texts: Sequence[str] = (),
) -> Batch:
    """A loader's batch, in raw units, to the losses'.

    embeddings: (instructions, E), of ``texts``. ``raw["rows"]`` and ``size`` are there if workers share it.
    """
    count, chunk, dims = raw["action"].shape
    told: list[int] = np.asarray(raw["instruction"]).tolist()
    instruction = embeddings.index_select(0, raw["instruction"])
    scaled = units.action(raw["action"])
    padding = (0, scaled.shape[-1] - dims)
    frames, real = raw["mask"].unsqueeze(-1), F.pad(raw["action_dim_mask"], padding).unsqueeze(1)
    mask = frames * real
    # chosen, not multiplied: what is masked may be anything, and nothing times not-a-number is not nothing
    action = torch.where(mask > 0, scaled, 0.0).flatten(1)
    padded = bool((real == 0).any()) and not units.noise_in_padding

    def seen(which: str) -> Observation:
        state = units.state(raw[f"{which}state"])
        tokens = units.prompt([texts[i] for i in told], state) if texts else None
        return Observation(state, instruction, *_pictures(raw, which), *(tokens or (None, None)))

    return Batch(
        observation=seen(""),
        next_observation=seen("next_"),
        action=action,
        mask=mask.flatten(1),
        dim_mask=real.expand(count, chunk, -1).flatten(1) if padded else None,
        reward=raw["reward"],
        discount=raw["discount"],
        success=raw["success"].to(torch.float32),
        human=raw["human"].to(torch.float32),
        finished=raw.get("finished", raw["success"]).to(torch.float32),
        task=raw["task"],
        rows=raw.get("rows"),
        total=size,
    )


def _pictures(raw: Mapping[str, Tensor], which: str) -> tuple[Tensor | None, Tensor | None]:
    """A batch's pictures, or their features, and, where some are none, their mask."""
    name = f"{which}features" if f"{which}features" in raw else f"{which}image"
    mask = raw.get(f"{name}_mask")
    return raw.get(name), None if mask is None or bool(mask.all()) else mask


def chosen(data: str, batch: Batch) -> Tensor | None:
    """Weights (B,) of the chunks to clone: "all" (None), or those of a "success", that "finished" in one, or
    that a "human" chose; every task with any counts the same."""
    return None if data == "all" else balanced(getattr(batch, data), batch.task)


def balanced(weight: Tensor, task: Tensor) -> Tensor:
    """Weights (B,) rescaled so that every task with any weight counts as much as every other."""
    tasks = largest(int(task.max()) + 1)
    per_task = weight.new_zeros(tasks).index_add_(0, task, weight)
    return weight / total(per_task).clamp_min(1)[task]


class Noise:
    """Random numbers for the losses.

    Each worker draws the whole shared batch's numbers and keeps its own rows, so that the numbers do not
    depend on how many workers share it; they are drawn where the generator is, on the CPU, so that they do
    not depend on the device either, and moved to the batch's.
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def normal(self, batch: Batch, *shape: int) -> Tensor:
        """(B, …) standard normal."""
        return self._own(batch, torch.randn, shape)

    def uniform(self, batch: Batch, *shape: int) -> Tensor:
        """(B, …) uniform in [0, 1)."""
        return self._own(batch, torch.rand, shape)

    def _own(self, batch: Batch, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        size = len(batch.action) if batch.rows is None else batch.total
        whole = draw(size, *shape, generator=self.generator, device=self.generator.device)
        return (whole if batch.rows is None else whole[batch.rows]).to(batch.action.device)
