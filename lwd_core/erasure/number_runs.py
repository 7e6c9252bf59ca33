"""Runs of numbers, and where they stand in bytes: whatever a raw format makes of them.

The lake keeps float32; a log may hold the same values as float32 or float64, in either byte order, one after
the other (CDR, ROS 1, packed protobuf, HDF5), with a tag before each (protobuf), or as decimal text (JSON).
"""

import re
import struct
from collections.abc import Iterator, Sequence

import numpy as np

ENOUGH = 10  # significant digits: fewer may stand anywhere by chance
LONGEST = 6
KINDS = ("<f4", ">f4", "<f8", ">f8")
TAGS = (0, 1, 2)  # bytes between numbers
TOKEN = re.compile(rb"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
NEAR = 48  # bytes of text a number and its name may take


def digits(value: float) -> int:
    """Significant decimal digits of a float32; 0 of nothing and of what isn't finite."""
    if not np.isfinite(value) or value == 0:
        return 0
    mantissa = np.format_float_scientific(np.float32(value), unique=True, trim="-").split("e")[0]
    return len(mantissa.strip("-").replace(".", ""))


def runs(vector: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Up to ``most`` stretches [first, last) of a float32 vector (D,) that say enough to be known again."""
    known = [digits(value) for value in vector]
    found = []
    start = 0
    while start < len(vector):
        for end in range(start + 2, min(start + LONGEST, len(vector)) + 1):
            if sum(known[start:end]) >= ENOUGH and np.isfinite(vector[start:end]).all():
                found.append((start, end))
                start = end - 1
                break
        start += 1
    if len(found) <= most:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, most).astype(int)]


class Numbers:
    """Runs to look for; each is the bytes of little-endian float32 values."""

    def __init__(self, wanted: Sequence[bytes]) -> None:
        self._runs = [np.frombuffer(run, "<f4") for run in wanted]
        # each run is looked for by its longest number: zeros are everywhere
        self._anchors = [int(np.argmax([digits(value) for value in run])) for run in self._runs]
        self._by_bits: dict[int, list[int]] = {}
        for i, (run, anchor) in enumerate(zip(self._runs, self._anchors, strict=True)):
            self._by_bits.setdefault(int(run[anchor : anchor + 1].view("<u4")[0]), []).append(i)
        self._bits = np.array(sorted(self._by_bits), np.uint32)
        self._half = np.zeros(1 << 16, bool)
        self._half[self._bits >> 16] = True
        self._heads = [_heads(float(run[a])) for run, a in zip(self._runs, self._anchors, strict=True)]

    def in_array(self, values: np.ndarray) -> bool:
        """Whether a run stands in the values (N,), one after the other."""
        flat = np.ascontiguousarray(values, "<f4")
        return any(self._whole(flat, at - anchor, run) for at, anchor, run in self._hits(flat))

    def in_bytes(self, data: bytes, kinds: Sequence[str] = KINDS) -> bool:
        """Whether a run stands in the bytes as numbers of these kinds, anywhere, with tags or without."""
        for kind in kinds if self._runs else ():
            size = int(kind[2])
            for shift in range(min(size, max(0, len(data) - size + 1))):
                count = (len(data) - shift) // size
                with np.errstate(all="ignore"):
                    flat = np.frombuffer(data, kind, count, shift).astype("<f4")
                for at, anchor, run in self._hits(flat):
                    if self._spaced(data, kind, shift + at * size, anchor, run):
                        return True
        return False

    def in_text(self, data: bytes) -> bool:
        """Whether a run stands in a text as decimal numbers, names between them or not."""
        for run, heads in zip(self._runs, self._heads, strict=True):
            around = NEAR * (len(run) + 1)
            for head in heads:
                at = data.find(head)
                while at >= 0:
                    if _in_order(data[max(0, at - around) : at + around], run):
                        return True
                    at = data.find(head, at + 1)
        return False

    def _hits(self, flat: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Where a run's anchor stands: place, anchor's place in the run, run."""
        if not self._runs:
            return
        bits = flat.view("<u4")
        # most numbers fall out by their first half, at a nanosecond each
        places = np.flatnonzero(self._half[bits >> 16])
        places = places[np.isin(bits[places], self._bits)]
        for at in places.tolist():
            for i in self._by_bits[int(bits[at])]:
                yield at, self._anchors[i], self._runs[i]

    @staticmethod
    def _whole(flat: np.ndarray, first: int, run: np.ndarray) -> bool:
        return first >= 0 and np.array_equal(flat[first : first + len(run)], run)

    @staticmethod
    def _spaced(data: bytes, kind: str, at: int, anchor: int, run: np.ndarray) -> bool:
        code, size = kind[0] + ("f" if kind[2] == "4" else "d"), int(kind[2])
        for tag in TAGS:
            first = at - anchor * (size + tag)
            if first < 0 or first + len(run) * (size + tag) - tag > len(data):
                continue
            values = [struct.unpack_from(code, data, first + i * (size + tag))[0] for i in range(len(run))]
            with np.errstate(all="ignore"):
                if np.array_equal(np.array(values).astype(np.float32), run):
                    return True
        return False


def _heads(value: float) -> set[bytes]:
    """First digits that every decimal text of a float32 begins with, one way or another."""
    exact = abs(np.float32(value))
    low = (float(np.nextafter(exact, np.float32(0))) + float(exact)) / 2
    high = (float(np.nextafter(exact, np.float32(np.inf))) + float(exact)) / 2
    heads = set()
    for near in (low, float(exact), high):
        heads.add(_cut(np.format_float_positional(near, unique=True, trim="-")))
        if not 1e-3 <= near < 1e16:
            heads.add(_cut(np.format_float_scientific(near, unique=True, trim="-").split("e")[0]))
    return heads


def _cut(text: str) -> bytes:
    """A positive decimal down to five significant digits, no zeros at its end."""
    kept, seen = "", 0
    for letter in text:
        seen += letter.isdigit() and (seen > 0 or letter != "0")
        if seen > 5:
            break
        kept += letter
    return (kept.rstrip("0").rstrip(".") if "." in kept else kept).encode()


def _in_order(text: bytes, run: np.ndarray) -> bool:
    """Whether the numbers of a text hold the run, others in between allowed."""
    with np.errstate(all="ignore"):
        values = np.array([float(token) for token in TOKEN.findall(text)]).astype(np.float32)
    for start in np.flatnonzero(values == run[0]).tolist():
        at = 0
        for value in values[start : start + 3 * len(run)]:
            at += value == run[at]
            if at == len(run):
                return True
    return False
