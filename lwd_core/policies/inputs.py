"""What a policy is given besides states and words: pictures, and where its noise comes from.

Nothing here needs torch.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

#: A picture as a robot has it: JPEG bytes, or (h, w, 3) u8 RGB.
Frame = bytes | npt.NDArray[np.uint8]
#: Of each camera by name; None for one that the robot's embodiment has not.
Shown = Mapping[str, Frame | None]
#: One source for all robots that act together, or one for each: then nobody's noise depends on the others.
Randomness = np.random.Generator | Sequence[np.random.Generator]


def drawn(
    randomness: Randomness, shape: Callable[[int], tuple[int, ...]], count: int
) -> npt.NDArray[np.float32]:
    """Normal noise for ``count`` robots, of the shape that a network's `FlowPolicy.noise_shape` gives.

    A robot with a source of its own gets what it would get alone. Raises ValueError where there are sources
    for another number of robots.
    """
    if isinstance(randomness, np.random.Generator):
        return randomness.standard_normal(shape(count), dtype=np.float32)
    if len(randomness) != count:
        raise ValueError(f"{len(randomness)} sources of noise for {count} robots; give one, or one each")
    rows = [own.standard_normal(shape(1), dtype=np.float32) for own in randomness]
    return np.concatenate(rows, axis=-3)  # (…, B, H, D)
