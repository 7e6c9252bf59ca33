"""A raw log as it lies somewhere: one file, or one folder that is a log as a whole."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

_BLOCK = 1 << 20


@dataclass(frozen=True)
class LogSource:
    """A local path or fsspec URL. A LeRobot data set or a rosbag2 folder is one log."""

    uri: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        fs, path = fsspec.core.url_to_fs(self.uri)
        return fs, path.rstrip("/")

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self._place[1]).name

    @cached_property
    def is_folder(self) -> bool:
        fs, path = self._place
        return bool(fs.isdir(path))

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Relative paths of a folder's files, sorted; empty for a file.

        What leads out of the folder (symbolic links, dots) is no part of the log.
        """
        if not self.is_folder:
            return ()
        fs, path = self._place
        root = os.path.realpath(path)
        found = []
        for full in fs.find(path):
            relative = full[len(path) :].lstrip("/")
            inside = not self.local or os.path.realpath(full) == os.path.join(root, relative)
            if inside and ".." not in PurePosixPath(relative).parts:
                found.append(relative)
        return tuple(sorted(found))

    @cached_property
    def size(self) -> int:
        """Bytes, summed over the files of a folder."""
        fs, path = self._place
        if not self.is_folder:
            return int(fs.size(path) or 0)
        return sum(int(fs.size(f"{path}/{f}") or 0) for f in self.files)

    @property
    def local(self) -> Path | None:
        """The path on this machine, None for a remote store."""
        fs, path = self._place
        return (
            Path(path)
            if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
            else None
        )

    def open(self, relative: str = "") -> BufferedReader:
        """Open the file, or one file of the folder, for binary reading."""
        if relative and relative not in self.files:
            raise FileNotFoundError(f"{self.uri}: no file {relative}")
        fs, path = self._place
        target = f"{path}/{relative}" if relative else path
        return open(target, "rb") if self.local else fs.open(target, "rb", block_size=8 * _BLOCK)

    def sha256(self) -> str:
        """Hex digest of the bytes; of a folder, over its sorted (relative path, sha256) pairs."""
        if not self.is_folder:
            return self._file_sha256("")
        whole = hashlib.sha256()
        for relative in self.files:
            whole.update(f"{relative}\0{self._file_sha256(relative)}\n".encode())
        return whole.hexdigest()

    def _file_sha256(self, relative: str) -> str:
        digest = hashlib.sha256()
        with self.open(relative) as f:
            while block := f.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The log as a local path, for libraries that open paths; a remote log is copied for the time."""
        if self.local:
            yield self.local
            return
        with tempfile.TemporaryDirectory(prefix="lwd-log-") as folder:
            root = Path(folder) / (self.name or "log")
            for relative in self.files or ("",):
                target = root / relative if relative else root
                target.parent.mkdir(parents=True, exist_ok=True)
                with self.open(relative) as f, target.open("wb") as out:
                    shutil.copyfileobj(f, out, _BLOCK)
            yield root
