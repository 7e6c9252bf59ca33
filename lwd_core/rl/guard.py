"""A guard against over-optimising Q: λ is raised while the policy strays too far from its reference.

Far from the data nothing vouches for Q, and what maximises it there is its error (Gao et al., arXiv
2210.10760: the true score falls from some KL on while the learned one goes on rising). Held-out advantage by
the same Q can't see that, since Q judges itself: it still rises where success has begun to fall. Measured on
three tasks of the demo, 120 scenes a figure, from its offline policy's reference (.85): λ .05, path KL .2,
advantage .016, success .90; λ .01, 3.1 nats, .046, .82; the same held at 1 nat, which makes λ .02, .031, .91;
λ .003, 40 nats, .110, .25, and held at 1 nat .029, .89.
"""

import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from lwd_core.rl.qam import QAM


def moves(config: "QAM") -> bool:
    """Whether λ is more than its configured value, and so part of a learner's state."""
    return bool(config.kl_budget or config.kl_limit)


def next_temperature(config: "QAM", log_temperature: Tensor, path_kl: Tensor) -> Tensor:
    """log λ of the next step from that of this one and the path KL it led to, nats a chunk: dual descent.

    With a budget the path KL is brought to it from both sides. With a limit alone λ is the configured one, or
    as much more as keeps the path KL at the limit: Lagrange's multiplier of "at most so far".
    """
    most = config.kl_budget or config.kl_limit
    if not most:
        return log_temperature
    least = config.temperature_min if config.kl_budget else config.temperature
    step = config.dual_rate * (path_kl / most - 1).clamp(-1, 1)
    return (log_temperature + step).clamp(math.log(least), math.log(config.temperature_max))
