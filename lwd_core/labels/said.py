"""What a check or a label may answer, and how its answer becomes rows of a layer."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa

from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import LabelKind, Outcome, Verdict

#: What a labeller says; the rest of a label's columns is the layer's and the episode's.
SAID = ("episode_id", "step", "last_step", "check", "value", "text", "detail")
_SCHEMA = pa.schema([LABELS.schema.field(name) for name in SAID])
#: Characters of a text: a label is asked for in SQL, many at a time.
LONGEST = 65_536
#: What a terminal would obey rather than show.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_MEANT = (
    "say a number, bool or text, None, one of these a step, segments (first, last, text), or a dict of these"
)


@dataclass(frozen=True)
class Finding:
    """A verdict, the number it rests on, and a sentence for a person."""

    verdict: Verdict
    value: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Said:
    """One label in full, for what no shorter answer says. ``step`` None: it speaks of the whole episode."""

    value: float | None = None
    text: str | None = None
    detail: str | None = None
    step: int | None = None
    last_step: int | None = None
    check: str | None = None


class WrongAnswer(Exception):
    """An answer that is no label; the message says what is."""


class LabelRows:
    """Labels of many episodes, as they are said."""

    def __init__(self, kind: LabelKind, name: str) -> None:
        self._kind, self._name = kind, name
        self._rows: list[dict[str, Any]] = []
        self._curves: list[tuple[str, str | None, np.ndarray]] = []

    def add(self, episode_id: str, steps: int, answer: object) -> None:
        """Take what was answered of an episode of so many steps. Raises `WrongAnswer`, and takes nothing."""
        rows: list[Said] = []
        curves: list[tuple[str | None, np.ndarray]] = []
        for name, told in _named(answer, self._kind):
            check = self._name if name is None and self._kind is LabelKind.QUALITY else name
            array = _array(told)
            if isinstance(array, np.ndarray):
                curves.append((check, _curve(array, steps, self._kind)))
                continue
            found = _segments(array) if array is not None else [_one(told, self._kind)]
            rows += [storable(replace(said, check=said.check or check)) for said in found]
        last = steps - 1 if self._kind is LabelKind.REWARD else steps
        for said in rows:
            at = said.step
            end = at if said.last_step is None else said.last_step
            if at is not None and not 0 <= at <= (end or 0) <= last:
                raise WrongAnswer(f"steps {at}–{end} do not lie within 0–{last}")
        if not curves and not rows:
            rows = [Said(detail="nothing found")]  # an episode without rows would be looked at again
        self._rows += [{"episode_id": episode_id, **vars(said)} for said in rows]
        self._curves += [(episode_id, check, curve) for check, curve in curves]

    def table(self) -> pa.Table:
        """All of it, with the columns of ``SAID``."""
        lengths = np.array([len(curve) for _, _, curve in self._curves], np.int64)
        of = pa.array(np.repeat(np.arange(len(lengths)), lengths))
        values = np.concatenate([np.zeros(0), *(curve for _, _, curve in self._curves)])
        columns = {
            "episode_id": pa.array([e for e, _, _ in self._curves], pa.string()).take(of),
            "check": pa.array([c for _, c, _ in self._curves], pa.string()).take(of),
            "step": np.concatenate([np.zeros(0, np.int32), *map(np.arange, lengths)]).astype(np.int32),
            "value": pa.array(values, mask=np.isnan(values)),
        }
        told = pa.Table.from_pylist(self._rows, _SCHEMA)
        return pa.concat_tables([told, pa.table(columns)], promote_options="default")


def storable(said: Said) -> Said:
    """With what the columns of a label can hold, so that an episode fails and not all that lie beside it."""
    if not isinstance(said.value, None | Real | np.generic):
        raise WrongAnswer(f"value {said.value!r} is no number")
    for name in ("step", "last_step"):
        if not isinstance(getattr(said, name), None | Integral):
            raise WrongAnswer(f"{name} {getattr(said, name)!r} is no whole number")
    for name in ("text", "detail", "check"):
        word = getattr(said, name)
        if not isinstance(word, None | str):
            raise WrongAnswer(f"{name} {word!r} is no text")
        if word and len(word) > LONGEST:
            raise WrongAnswer(f"{name} of {len(word)} characters; {LONGEST} are the most")
        if control := CONTROL.search(word or ""):
            raise WrongAnswer(
                f"{name}: {control[0]!r} at {control.start()} is a control character; leave it out"
            )
        try:
            (word or "").encode()
        except UnicodeEncodeError as error:
            raise WrongAnswer(f"{name} {word!r:.80} is no Unicode") from error
    return said if said.value is None else replace(said, value=float(said.value))


def _named(answer: object, kind: LabelKind) -> Iterator[tuple[str | None, object]]:
    if not isinstance(answer, Mapping):
        yield None, _scalar(answer)
        return
    if kind in (LabelKind.REWARD, LabelKind.OUTCOME):
        raise WrongAnswer(f"a layer of kind {kind} says one thing, not {len(answer)} by name")
    yield from ((str(name), _scalar(told)) for name, told in answer.items())


def _scalar(told: object) -> object:
    """An array or tensor of no dimension as its number."""
    return np.asarray(told).item() if getattr(told, "ndim", None) == 0 else told


def _array(told: object) -> np.ndarray | list[Any] | None:
    """A numeric array (steps,), a list of segments, or None for anything single."""
    if told is None or isinstance(told, str | Said | Finding | Real | np.generic):
        return None
    if isinstance(told, list | tuple) and (not told or isinstance(told[0], list | tuple | Said)):
        return list(told)
    array = np.asarray(told)
    if array.ndim != 1 or array.dtype.kind not in "biufUO":
        raise WrongAnswer(f"{type(told).__name__} of shape {array.shape} is no label; {_MEANT}")
    if array.dtype.kind in "UO":  # a word a step: the runs of one word
        if not all(isinstance(word, str) for word in set(array)):
            raise WrongAnswer(f"a step's label is neither number nor text; {_MEANT}")
        edges = np.flatnonzero(np.append(True, array[1:] != array[:-1])) if len(array) else np.zeros(0, int)
        ends = np.append(edges[1:], len(array)) - 1
        return [(int(a), int(b), str(array[a])) for a, b in zip(edges, ends, strict=True) if array[a]]
    return array.astype(np.float64)


def _curve(array: np.ndarray, steps: int, kind: LabelKind) -> np.ndarray:
    lengths = (steps,) if kind is LabelKind.REWARD else (steps, steps + 1)
    if kind in (LabelKind.QUALITY, LabelKind.OUTCOME):
        raise WrongAnswer(f"{len(array)} values; a {kind} is one for the episode: try .all() or .any()")
    if len(array) not in lengths:
        final = "; leave the final state's out with [:-1]" if len(array) == steps + 1 else ""
        raise WrongAnswer(f"{len(array)} values for {steps} steps{final}")
    if kind is LabelKind.REWARD and not np.isfinite(array).all():
        raise WrongAnswer(f"the reward of step {int(np.argmin(np.isfinite(array)))} is not finite")
    return array


def _whole(step: object) -> bool:
    return isinstance(step, Integral | float | np.floating) and float(step).is_integer()


def _segments(told: Sequence[Any]) -> list[Said]:
    found: list[Said] = []
    for item in told:
        if isinstance(item, Said):
            found.append(item)
            continue
        if len(item) != 3 or not isinstance(item[2], str):
            raise WrongAnswer(f"{item!r} is no segment; one is (first step, last step, text)")
        first, last, text = item
        if not (_whole(first) and _whole(last)):
            raise WrongAnswer(f"{item!r} is no segment; its steps are whole numbers")
        found.append(Said(step=int(first), last_step=int(last), text=text))
    return found


def _one(told: object, kind: LabelKind) -> Said:
    if isinstance(told, Said):
        return told
    if isinstance(told, Finding):
        if told.verdict not in set(Verdict):
            raise WrongAnswer(f"{told.verdict!r} is no verdict; there are {', '.join(Verdict)}")
        return Said(value=told.value, text=str(told.verdict), detail=told.detail or None)
    yes = bool(told) if isinstance(told, bool | np.bool_) else None
    if kind is LabelKind.QUALITY:
        if told is not None and yes is None:
            raise WrongAnswer(f"{told!r} is no verdict; a check says True, False, None or a Finding")
        return Said(text=str({True: Verdict.PASS, False: Verdict.FAIL, None: Verdict.UNKNOWN}[yes]))
    if kind is LabelKind.OUTCOME:
        word = (Outcome.SUCCESS if yes else Outcome.FAILURE) if yes is not None else told or Outcome.UNKNOWN
        if word not in set(Outcome):
            raise WrongAnswer(f"{told!r} is no outcome; say True, False or one of {', '.join(Outcome)}")
        return Said(text=str(word))
    if told is None:
        return Said(detail="nothing found")
    if isinstance(told, str):
        if kind is LabelKind.REWARD:
            raise WrongAnswer(f"{told!r} is no reward; say a number, or one a step")
        return Said(text=told)
    if isinstance(told, Real | np.generic):
        value = float(told)  # type: ignore[arg-type]
        if kind is LabelKind.REWARD and not np.isfinite(value):
            raise WrongAnswer(f"a reward of {value} is not finite")
        return Said(value=None if np.isnan(value) else value)
    raise WrongAnswer(f"{type(told).__name__} is no label; {_MEANT}")
