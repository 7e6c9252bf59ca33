"""Short names for topics and columns: by the part that differs, never two alike."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

# words that say how something is sent, not what it is
_CARRIED = re.compile(
    r"(image|images|img|compressed|compressedDepth|raw|rect|color|colour|rgb|bgr|camera|cam|video|stream|"
    r"h264|h265|hevc|jpeg|jpg|png|ffmpeg|observation|observations|obs|robot|topic|msg|data)(_(raw|rect|color|"
    r"rect_color|rect_raw|compressed|mono))*",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """A name as the embodiment file takes it."""
    return re.sub(r"\W+", "_", text).strip("_").lower() or "unnamed"


def unique(names: Iterable[str]) -> list[str]:
    """Clean names in their order; where several are one, all but the first are numbered."""
    found: list[str] = []
    taken: set[str] = set()
    for name in map(clean, names):
        number, one = 1, name
        while one in taken:
            number, one = number + 1, f"{name}_{number + 1}"
        taken.add(one)
        found.append(one)
    return found


def short_names(topics: Sequence[str]) -> dict[str, str]:
    """A short name for each of a set of topics, no two alike.

    ``/wrist_cam/compressed`` and ``/overhead_cam/compressed`` are wrist_cam and overhead_cam: parts that
    all of them have, and parts that only say how something is sent, tell nothing. What then still
    is one name takes more of its topic.
    """
    topics = list(dict.fromkeys(topics))
    parts = {t: [p for p in re.split(r"[/.:\s]+", t) if p.strip("_")] or [t] for t in topics}
    counts = Counter(p for of in parts.values() for p in set(of))
    shared = {p for p, n in counts.items() if n == len(topics) > 1}
    named: dict[str, str] = {}
    left = topics
    for tells, end in (  # its last parts tell most, of parts that say how it is sent the first ones
        (lambda p: p not in shared and not _CARRIED.fullmatch(p), -1),
        (lambda p: p not in shared, 1),
        (lambda p: not _CARRIED.fullmatch(p), -1),
        (lambda p: True, 1),
    ):
        for length in (1, 2, None):
            telling = {t: [p for p in parts[t] if tells(p)] for t in left}
            if length:
                telling = {t: p[-length:] if end < 0 else p[:length] for t, p in telling.items()}
            names = {t: clean("_".join(p)) for t, p in telling.items() if p}
            often = Counter([*names.values(), *named.values()])
            named |= {t: n for t, n in names.items() if often[n] == 1}
            left = [t for t in left if t not in named]
    rest = unique([*named.values(), *left])[len(named) :]
    named |= dict(zip(left, rest, strict=True))
    return {t: named[t] for t in topics}
