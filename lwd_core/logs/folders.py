"""Which folders are one log as a whole, and which files belong to it: only those that its format lists.

A mark (``metadata.yaml``, ``meta/info.json``) speaks for the folder it stands in and for the files its
format names there. Whatever else lies below is a log of its own: no mark, however high, takes in another
robot's logs.
"""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath
from typing import BinaryIO

LEROBOT, ROSBAG2 = "meta/info.json", "metadata.yaml"
RECORDING = (".mcap", ".bag", ".db3", ".zstd", ".h5", ".hdf5", ".npz")
#: What SQLite keeps beside a database: messages that are in no other file yet.
BESIDE_DB3 = ("-wal", "-shm", "-journal")

_PART = re.compile(r"(.+)_(\d+)\.(db3|mcap)(\.zstd)?")
_BAG = re.compile(r".+\.(db3|mcap)(\.zstd)?")
_PATHS = re.compile(
    r"^[ \t]*relative_file_paths:[ \t]*(?:\[([^\]]*)\]|\n((?:[ \t]*-[^\n]*(?:\n|\Z))+))", re.M
)
_METADATA_BYTES = 1 << 22
# Parts of one recording follow each other at once; recordings of their own, numbered by hand, do not.
_APART_NS = 2_000_000_000

Open = Callable[[str], BinaryIO]


def passing(relative: str) -> bool:
    """Whether a name is none of a log: hidden, an upload under way, or a digest beside a log."""
    if relative.endswith((".tmp", ".sha256")):
        return True
    return relative.startswith(".") or "/." in relative


def folder_logs(
    names: Collection[str], opened: Open, fit: Callable[[str], bool] = lambda _folder: True
) -> dict[str, tuple[str, ...]]:
    """Folders that are one log each, with the files that belong to it, sorted and relative to the folder.

    ``names`` are paths below one root, ``opened`` opens one of them; ``""`` is the root itself. A file
    belongs to the nearest folder above it that lists it. ``fit`` says which folders may be a log at all.
    """
    lists: dict[str, Callable[[str], bool]] = {}
    by_folder: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if _BAG.fullmatch(last) or last == ROSBAG2 or last.endswith(BESIDE_DB3):
            by_folder.setdefault(folder, []).append(last)
        if name == LEROBOT or name.endswith("/" + LEROBOT):
            lists[name[: -len(LEROBOT)].rstrip("/")] = _of_lerobot
    for folder, here in by_folder.items():
        if folder in lists or not fit(folder):
            continue
        held = _bag(here, lambda last, folder=folder: opened(f"{folder}/{last}" if folder else last))
        if held:
            lists[folder] = held.__contains__
    lists = {folder: listed for folder, listed in lists.items() if fit(folder)}
    if not lists:
        return {}
    held_by: dict[str, list[str]] = {folder: [] for folder in lists}
    for name in names:
        for folder in _above(name):
            inner = name[len(folder) + 1 :] if folder else name
            if folder in lists and lists[folder](inner):
                held_by[folder].append(inner)
                break
    return {folder: tuple(sorted(held)) for folder, held in held_by.items() if held}


def _above(name: str) -> Iterable[str]:
    """Folders above a file, the nearest first."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
    yield ""


def _of_lerobot(inner: str) -> bool:
    top, _, rest = inner.partition("/")
    if rest:
        return top in ("meta", "data", "videos", "images") and not inner.lower().endswith(RECORDING)
    return top.lower().startswith(("readme", "license")) or top.lower().endswith(".md")


def _bag(here: list[str], opened: Open) -> frozenset[str]:
    """Names in a folder that are one rosbag2 recording; empty where they are none."""
    recordings = [name for name in here if _BAG.fullmatch(name)]
    listed = _listed(opened) if ROSBAG2 in here else ()
    parts = set(recordings).intersection(listed)
    series = {_stem(name) for name in parts} - {None}
    # a recorder that was killed has not listed its last part, or none at all
    parts.update(name for name in recordings if _stem(name) in series)
    if not parts and _one_series(recordings, opened, marked=ROSBAG2 in here):
        parts.update(recordings)
    if not parts:
        return frozenset()
    beside = {part + end for part in parts if part.endswith(".db3") for end in BESIDE_DB3}
    return frozenset(parts | beside.intersection(here) | ({ROSBAG2} & set(here)))


def _listed(opened: Open) -> tuple[str, ...]:
    """File names that a metadata.yaml of rosbag2 lists; early versions wrote them with a folder before."""
    try:
        with opened(ROSBAG2) as stream:
            text = stream.read(_METADATA_BYTES).decode(errors="replace")
    except OSError:
        return ()
    found = _PATHS.search(text)
    if found is None or "rosbag2_bagfile_information" not in text:
        return ()
    flow, block = found.groups()
    names = flow.split(",") if flow is not None else [line.strip()[1:] for line in block.splitlines()]
    return tuple(PurePosixPath(name.strip().strip("'\"")).name for name in names if name.strip())


def _stem(name: str) -> tuple[str, str] | None:
    part = _PART.fullmatch(name)
    return (part[1], part[3]) if part else None


def _one_series(recordings: list[str], opened: Open, *, marked: bool) -> bool:
    """Whether all recordings of a folder without a sound metadata.yaml are the parts of one."""
    stems = {_stem(name) for name in recordings}
    if len(stems) != 1 or None in stems:
        return False
    if len(recordings) == 1:
        return marked
    numbered = sorted((int(_PART.fullmatch(name)[2]), name) for name in recordings)  # type: ignore[index]
    spans = {number: _span(name, opened) for number, name in numbered}
    if any(span is None for span in spans.values()):
        return False
    for number, span in spans.items():
        after = spans.get(number + 1)
        if span and after and abs(after[0] - span[1]) > _APART_NS:
            return False
    return True


def _span(name: str, opened: Open) -> tuple[int, int] | tuple[()] | None:
    """First and last time of a part, ns; () where it doesn't say, None for what no ROS 2 recorder wrote."""
    if not name.endswith(".mcap"):
        return ()
    from mcap.reader import make_reader

    with opened(name) as stream:
        reader = make_reader(stream)
        try:
            if reader.get_header().profile != "ros2":
                return None
        except Exception:
            return None
        try:
            said = getattr(reader.get_summary(), "statistics", None)
        except Exception:  # cut short, as the last part of a killed recorder is
            return ()
    return (said.message_start_time, said.message_end_time) if said and said.message_count else ()


__all__ = ["BESIDE_DB3", "LEROBOT", "RECORDING", "ROSBAG2", "folder_logs", "passing"]
