"""The formats this platform reads itself, each told by its content.

Cheap on purpose: what tells a format apart is here, and only the reader of the one that is met gets loaded.
"""

import re
from collections.abc import Callable, Mapping

from lwd_core.logs.folders import LEROBOT
from lwd_core.logs.source import LogSource

MCAP = b"\x89MCAP0\r\n"
SQLITE = b"SQLite format 3\0"
_ROSBAG1 = b"#ROSBAG V"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PART = re.compile(r".*\.(db3|mcap)(\.zstd)?$")


def rosbag2_parts(source: LogSource) -> list[str]:
    """A recording's files in the order they were written: bag_2 before bag_10."""
    if any(f.startswith("meta/") for f in source.files):
        return []  # a data set that happens to hold such files
    found = [f for f in source.files if _PART.match(f)]
    return sorted(found, key=lambda f: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", f)])


def is_lerobot_data(file: str) -> bool:
    """Whether a set's file holds rows."""
    return file.startswith("data/") and file.endswith(".parquet")


def is_mcap(source: LogSource, head: bytes) -> bool:
    """Its magic bytes; ``head`` is a file's first 4 KiB, here as below."""
    return head.startswith(MCAP)


def is_rosbag1(source: LogSource, head: bytes) -> bool:
    """A line of text at its beginning."""
    return head.startswith(_ROSBAG1)


def is_lerobot(source: LogSource, head: bytes) -> bool:
    """A folder with metadata and rows."""
    return LEROBOT in source.files and any(map(is_lerobot_data, source.files))


def is_rosbag2(source: LogSource, head: bytes) -> bool:
    """A folder of parts, or an SQLite database."""
    return bool(rosbag2_parts(source)) if source.is_folder else head.startswith(SQLITE)


def is_npz(source: LogSource, head: bytes) -> bool:
    """A zip archive whose first member is an array."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(_ZIP) and name.endswith(b".npy")


def is_hdf5(source: LogSource, head: bytes) -> bool:
    """Its magic bytes."""
    return head.startswith(_HDF5)


#: In the order they are asked.
FORMATS: Mapping[str, Callable[[LogSource, bytes], bool]] = {
    "mcap": is_mcap,
    "rosbag1": is_rosbag1,
    "lerobot": is_lerobot,
    "rosbag2": is_rosbag2,
    "npz": is_npz,
    "hdf5": is_hdf5,
}
