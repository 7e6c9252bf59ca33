"""npz files in D4RL or OGBench layout; never unpickled, read in memory, nothing extracted."""

import io
import struct
import zipfile
import zlib

import numpy as np

from lwd_core.logs import d4rl_ogbench
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.formats import is_npz
from lwd_core.logs.notes import Notes
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from lwd_core.logs.tabular import tabular_content
from storage_schemas.embodiment import Embodiment

_PEEKED = 100_000  # rows of an array that a draft looks at
_RATIO_LIMIT = 1100  # deflate cannot do better than 1032 : 1; more is a forged size


class NpzReader:
    """Reads npz data sets."""

    format = "npz"

    recognises = staticmethod(is_npz)

    def survey(self, source: LogSource) -> Survey:
        found, _ = _load(source)
        topics = {
            k: Topic(str(v.dtype), "npy", len(v), int(v[0].size) if len(v) else None)
            for k, v in found.items()
            if v.ndim
        }
        return Survey(topics, {"layout": d4rl_ogbench.layout(frozenset(found))})

    def peek(self, source: LogSource, episodes: int) -> list[dict[str, np.ndarray]]:
        """The flat arrays: all episodes one after the other."""
        found, _ = _load(source)
        return [{k: v[:_PEEKED] for k, v in found.items() if v.ndim and v.dtype.kind in "bifu"}]

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The set's episodes. Raises `UnreadableLog`."""
        found, damage = _load(source)
        notes = Notes()
        sets = d4rl_ogbench.split(found, embodiment, notes)
        return tabular_content(sets, embodiment, frames, self.format, damage, notes)


def _load(source: LogSource) -> tuple[dict[str, np.ndarray], Notes]:
    """Arrays by name, and what could not be read of them. Each array has a checksum in the zip."""
    found: dict[str, np.ndarray] = {}
    damage = Notes()
    try:
        with source.open() as f, zipfile.ZipFile(f) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if member.file_size > _RATIO_LIMIT * max(1, member.compress_size) + 4096:
                    damage.add(f"array {name}: its size is forged")
                    continue
                try:
                    data = archive.read(member)
                    found[name] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
                except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile, MemoryError) as e:
                    damage.add(f"array {name} cannot be read ({str(e)[:120]})")
                except (NotImplementedError, RuntimeError, SyntaxError, TypeError, KeyError) as e:
                    damage.add(f"array {name} cannot be read ({type(e).__name__})")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as e:
        raise UnreadableLog(f"the npz archive is damaged ({e})") from e
    if not d4rl_ogbench.is_flat(frozenset(found)):
        missing = {"observations", "actions", "terminals"} - found.keys()
        reason = "; ".join(damage.lines) or "known are the layouts of D4RL and OGBench"
        raise UnreadableLog(f"an npz without {', '.join(sorted(missing))}; {reason}")
    if not all(found[k].ndim for k in ("observations", "actions", "terminals")):
        raise UnreadableLog("an npz whose observations, actions or terminals are no rows")
    return found, damage
