"""What a policy is given: states, words, pictures, and where its noise comes from.

Nothing here needs torch.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lwd_core.errors import UserError

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


def numbers(states: npt.ArrayLike, who: str) -> npt.NDArray[np.float32]:
    """States (B, S), or one (S,), as a network takes them; ``who`` stands for the policy in errors.

    Raises `UserError` for another shape, for what are no numbers, and for a number that is not finite: of it
    come actions that are none either.
    """
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(states, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{who}: states are rows of numbers, all equally long; these are not ({error})"
        ) from error
    if rows.ndim not in (1, 2):
        raise UserError(f"{who}: takes states (B, S), got {rows.shape}")
    if not np.isfinite(rows).all():
        at = np.argwhere(~np.isfinite(rows))[0]
        where = "".join(f"[{i}]" for i in at)
        raise UserError(f"{who}: state{where}: {rows[tuple(at)]} is no number; look after the sensor")
    return rows


def sayings(instructions: str | Sequence[str], count: int, who: str) -> list[str]:
    """A text for each of ``count`` states.

    Raises `UserError` for another number of them, and for half a character, which no tokenizer reads.
    """
    texts = [instructions] * count if isinstance(instructions, str) else list(instructions)
    if len(texts) != count:
        raise UserError(f"{who}: {len(texts)} instructions for {count} states; give one, or one each")
    for text in set(texts):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise UserError(f"{who}: instruction {text!r} has half a character in it; say it in whole ones")
    return texts
