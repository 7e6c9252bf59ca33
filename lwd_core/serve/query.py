"""What a robot asks: state, words and pictures by their names, checked against the policy that will answer.

Everything is checked here, before it is asked for together with others: who sent what is wrong hears of it,
and nobody else.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lwd_core.errors import did_you_mean, suggest
from lwd_core.lake.frames import jpeg_size
from lwd_core.policies.inputs import Frame, Shown
from lwd_core.serve.messages import BadMessage, Value, clip

#: What a field may be called, after ``observation/`` or ``observation.``.
STATE, RESET, WORDS, WHOSE = "state", "reset", ("prompt", "instruction", "task"), "embodiment"
_BEFORE, _PICTURES = ("observation/", "observation."), ("images/", "images.")
#: Letters of a prompt, and pixels of a picture: a policy scales it down anyway.
LETTERS, PIXELS = 1000, 4096 * 4096


class Answers(Protocol):
    """What of a policy says whether it can answer."""

    @property
    def policy_id(self) -> str: ...
    @property
    def cameras(self) -> tuple[str, ...]: ...
    @property
    def sizes(self) -> Mapping[str, Collection[tuple[int, int]]]: ...
    @property
    def instructions(self) -> tuple[str, ...]: ...
    @property
    def widths(self) -> Mapping[str, int]:
        """Numbers of a state, by embodiment."""
        ...


@dataclass(frozen=True)
class Query:
    """A robot's observation, as its policy takes it: state (S,), what it is told, what its cameras show.

    ``embodiment`` is its type, where the policy learned from several; ``unused`` are pictures that were sent
    and the policy doesn't look at.
    """

    state: npt.NDArray[np.float64]
    instruction: str
    frames: Shown | None
    unused: tuple[str, ...] = ()
    embodiment: str = ""


def named(fields: Mapping[str, Value]) -> dict[str, Value]:
    """The fields under their own names: without what openpi and LeRobot put before them.

    Raises `BadMessage` where two then have one name.
    """
    own: dict[str, Value] = {}
    for name, value in fields.items():
        short = _without(_without(name, _BEFORE), _PICTURES)
        if short in own:
            raise BadMessage(f"{clip(name)}: given twice, also under another name; send it once")
        own[short] = value
    return own


def begins_anew(fields: Mapping[str, Value]) -> bool:
    """Whether the robot says that an episode begins. Raises `BadMessage`."""
    said = fields.get(RESET, False)
    if not isinstance(said, bool):
        raise BadMessage(f"{RESET}: {clip(said)}; send true with an episode's first observation")
    return said


def query(fields: Mapping[str, Value], policy: Answers) -> Query:
    """What `named` fields ask of a policy. Raises `BadMessage`."""
    words = [name for name in WORDS if name in fields]
    others = {n: v for n, v in fields.items() if n not in (STATE, RESET, WHOSE, *WORDS)}
    frames = {
        camera: _frame(camera, others.pop(camera), policy) for camera in policy.cameras if camera in others
    }
    for name, value in others.items():
        if not _is_picture(value):
            raise BadMessage(
                f"{clip(name)}: no such field"
                f"{suggest(name, (STATE, RESET, WHOSE, WORDS[0], *policy.cameras))}"
            )
    for camera in policy.cameras:
        if camera not in frames:
            near = did_you_mean(camera, others) or f"; sent were {clip(', '.join(others)) or 'none'}"
            raise BadMessage(
                f"images/{camera}: missing, and policy {policy.policy_id} plans by it{near}; send its "
                "picture, or nil where this robot has no such camera"
            )
    if frames and all(frame is None for frame in frames.values()):
        raise BadMessage(
            f"images: all are nil, and policy {policy.policy_id} sees by {', '.join(frames)}; send one"
        )
    whose = _whose(fields, policy)
    return Query(
        _state(fields, policy, whose),
        _told(fields, words, policy),
        frames or None,
        tuple(clip(n) for n in others),
        whose,
    )


def _without(name: str, heads: tuple[str, ...]) -> str:
    return next((name.removeprefix(head) for head in heads if name.startswith(head)), name)


def _whose(fields: Mapping[str, Value], policy: Answers) -> str:
    """The embodiment, if the policy knows several; how wide a state is does not say whose it is."""
    known, told = policy.widths, fields.get(WHOSE)
    if told is None and len(known) <= 1:
        return ""
    if not isinstance(told, str) or told not in known:
        got = "missing" if told is None else clip(told)
        near = suggest(told, known) if isinstance(told, str) else ""
        raise BadMessage(
            f"{WHOSE}: {got}{near}; policy {policy.policy_id} learned from {', '.join(sorted(known))}: send "
            "the name in this robot's embodiment file"
        )
    return told


def _state(fields: Mapping[str, Value], policy: Answers, whose: str) -> npt.NDArray[np.float64]:
    widths = ", ".join(f"{n} numbers for {robot}" for robot, n in sorted(policy.widths.items()))
    if STATE not in fields:
        raise BadMessage(f"{STATE}: missing; policy {policy.policy_id} takes {widths}")
    value = fields[STATE]
    try:
        state = np.asarray(value, np.float64) if isinstance(value, np.ndarray) or _numbers(value) else None
    except OverflowError:
        state = None
    if state is None or state.ndim != 1:
        got = f"shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise BadMessage(f"{STATE}: {got}; send a vector: {widths}, in the order of its embodiment file")
    if len(state) not in ({policy.widths[whose]} if whose else policy.widths.values()):
        raise BadMessage(
            f"{STATE}: {len(state)} numbers; policy {policy.policy_id} takes {widths}; send what the robot's "
            "embodiment file names, in its order"
        )
    limit = float(np.finfo(np.float32).max)
    bad = np.flatnonzero(~(np.abs(state) <= limit))
    if len(bad):
        raise BadMessage(
            f"{STATE}[{bad[0]}]: {state[bad[0]]} is no number a policy can take; look after the sensor, and "
            "send nothing while it fails"
        )
    return state


def _numbers(value: Value) -> bool:
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


def _told(fields: Mapping[str, Value], words: list[str], policy: Answers) -> str:
    if len(words) > 1:
        raise BadMessage(f"{words[1]}: {words[0]} says it already; send one of them")
    if not words and len(policy.instructions) == 1:
        return policy.instructions[0]
    told = fields[words[0]] if words else None
    if not isinstance(told, str) or not told.strip():
        some = ", ".join(repr(text) for text in policy.instructions[:5])
        more = ", …" if len(policy.instructions) > 5 else ""
        raise BadMessage(f"{WORDS[0]}: missing or no text; send what the robot is to do, as {some}{more}")
    if len(told) > LETTERS:
        raise BadMessage(f"{words[0]}: {len(told)} letters; say it in {LETTERS}")
    return told


def _is_picture(value: Value) -> bool:
    return value is None or isinstance(value, bytes) or (isinstance(value, np.ndarray) and value.ndim == 3)


def _frame(camera: str, value: Value, policy: Answers) -> Frame | None:
    """A picture that is one, of the size that the policy learned from."""
    where = f"images/{camera}"
    if value is None:
        return None
    if isinstance(value, bytes):
        try:
            height, width = jpeg_size(value)
        except ValueError as error:
            raise BadMessage(f"{where}: no JPEG ({clip(error)}); send a whole one, or an array") from error
        frame: Frame = value
    elif isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype == np.uint8:
        height, width, channels = value.shape
        if channels != 3:
            turned = ", the channels last" if height == 3 else ""
            raise BadMessage(f"{where}: shape {value.shape}; send (height, width, 3){turned}")
        frame = value
    else:
        got = (
            f"{value.dtype} of shape {value.shape}"
            if isinstance(value, np.ndarray)
            else clip(type(value).__name__)
        )
        raise BadMessage(f"{where}: {got}; send (height, width, 3) uint8, RGB, or the bytes of a JPEG")
    if not 0 < math.prod((height, width)) <= PIXELS:
        raise BadMessage(f"{where}: {width}x{height} pixels; send at most {PIXELS} of them")
    known = policy.sizes.get(camera, ())
    if known and (height, width) not in known:
        learned = " or ".join(f"{w}x{h}" for h, w in sorted(known))
        raise BadMessage(
            f"{where}: {width}x{height} pixels, the policy learned from {learned}; send that size"
        )
    return frame
