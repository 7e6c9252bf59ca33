"""The reference β: what a policy is extracted from, and when it is cloned anew."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from lwd_core.rl.batch import Noise
from lwd_core.rl.extraction import Extraction, PolicyStep
from lwd_core.rl.optim import OptimConfig, Rate


@dataclass(frozen=True)
class ReferenceConfig:
    """Which flow β is.

    mode: LWD freezes the SFT policy ("frozen"); QAM refreshes it as an EMA (``ema``, QAM 0.005) of a flow
    trained by BC on replay; "acting" is what acted when the stage began, and stands until its end. data:
    whose chunks that clone is of; "finished" leaves out what a policy did before a person took over. first:
    updates of the stage that only clone into the reference, before all others, with ``warm``'s rate; the
    policy then starts as a copy of the clone, else where it was. steps: Euler steps β is sampled with.
    """

    mode: Literal["frozen", "refreshed", "acting"] = "frozen"
    data: Literal["success", "finished", "all"] = "success"
    ema: Rate = 0.005
    first: NonNegativeInt = 0
    steps: PositiveInt = 10
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(rate=3e-4, weight_decay=1e-4))
    warm: OptimConfig = field(default_factory=lambda: OptimConfig(rate=1e-3, weight_decay=1e-4, floor=0.02))


@dataclass(frozen=True)
class ReferenceAlone(Extraction):
    """Acts as the reference itself, which leaves Q to the choice among chunks."""

    def loss(self, at: PolicyStep, noise: Noise) -> None:
        """Nothing is learned."""
