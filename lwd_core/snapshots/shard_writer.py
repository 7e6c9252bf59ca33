"""WebDataset shards whose bytes depend on their members alone."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

from storage_schemas.snapshot import Shard

_BLOCK = 512


@dataclass(frozen=True)
class Placed:
    """Where a member went: its shard, its rank in it, and the bytes of its payload."""

    shard: str
    index: int
    offset: int
    bytes: int


class ShardWriter:
    """Packs members into tars, each closed once it reaches ``limit`` bytes.

    A shard is built in memory (``limit`` plus one member) and handed to ``put(name, bytes)``.
    Headers carry no owner, no time and a fixed mode, so equal members give equal bytes.
    """

    def __init__(self, split: str, limit: int, put: Callable[[str, bytes], None]) -> None:
        self._split, self._limit, self._put = split, limit, put
        self._buffer = io.BytesIO()
        self._episodes = self._steps = 0
        self.shards: list[Shard] = []

    def add(self, name: str, data: bytes, steps: int) -> Placed:
        """Append one member of ``steps`` steps."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._buffer.write(info.tobuf(tarfile.PAX_FORMAT))
        place = Placed(self._name, self._episodes, self._buffer.tell(), len(data))
        self._buffer.write(data)
        self._buffer.write(bytes(-len(data) % _BLOCK))
        self._episodes += 1
        self._steps += steps
        if self._buffer.tell() >= self._limit:
            self.close()
        return place

    def close(self) -> None:
        """Write out the shard begun, if any."""
        if not self._episodes:
            return
        self._buffer.write(bytes(2 * _BLOCK))
        data = self._buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        name = self._name
        self._put(name, data)
        self.shards.append(Shard(name, self._split, len(data), digest, self._episodes, self._steps))
        self._buffer = io.BytesIO()
        self._episodes = self._steps = 0

    @property
    def _name(self) -> str:
        return f"{self._split}-{len(self.shards):06d}.tar"
