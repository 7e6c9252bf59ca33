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
from fsspec.implementations.local import LocalFileSystem

from lwd_core.logs.folders import BESIDE_DB3, folder_logs, passing

_BLOCK = 1 << 20


@dataclass(frozen=True)
class LogSource:
    """A local path or fsspec URL. A LeRobot data set or a rosbag2 folder is one log.

    A name is a name: ``::``, ``*`` and the like mean nothing in it.
    """

    uri: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        scheme, found, _ = self.uri.partition("://")
        if not found or "/" in scheme:
            return LocalFileSystem(), os.path.abspath(self.uri)
        fs = fsspec.filesystem(scheme)
        return fs, str(fs._strip_protocol(self.uri)).rstrip("/")

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

        Those that its format lists, all where it is of no known format. What leads out of the folder
        (symbolic links, dots) is no part of the log, but for the links that a Hugging Face cache is made of.
        """
        return self.folders.get("") or self._below

    @cached_property
    def folders(self) -> dict[str, tuple[str, ...]]:
        """Folders in a folder that are one log each, with their files; ``""`` is the folder itself."""
        fs, path = self._place
        return folder_logs(self._below, lambda name: fs.open(f"{path}/{name}", "rb"))

    @property
    def leading_out(self) -> tuple[str, ...]:
        """Relative paths in a local folder that are links out of it, and so no part of it."""
        local = self.local
        return tuple(f for f in self._found if local and not leads_inside(str(local), f))

    @cached_property
    def _below(self) -> tuple[str, ...]:
        """Relative paths of all files in a folder, sorted."""
        outside = set(self.leading_out)
        return tuple(f for f in self._found if f not in outside)

    @cached_property
    def _found(self) -> tuple[str, ...]:
        if not self.is_folder:
            return ()
        fs, path = self._place
        found = (full[len(path) :].lstrip("/") for full in fs.find(path))
        return tuple(sorted(f for f in found if ".." not in PurePosixPath(f).parts and not passing(f)))

    @cached_property
    def beside(self) -> tuple[str, ...]:
        """Names of the files that belong to a single file: an SQLite database's log of changes."""
        fs, path = self._place
        if self.is_folder or not path.endswith(".db3"):
            return ()
        return tuple(self.name + end for end in BESIDE_DB3 if fs.isfile(path + end))

    @cached_property
    def size(self) -> int:
        """Bytes, summed over the files of a folder, or of a file and what belongs to it."""
        fs, path = self._place
        if not self.is_folder:
            parent = path.rpartition("/")[0]
            return sum(int(fs.size(p) or 0) for p in (path, *(f"{parent}/{name}" for name in self.beside)))
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
        """Hex digest of the bytes; of several files, over their sorted (relative path, sha256) pairs."""
        path = self._place[1]
        if not self.is_folder and not self.beside:
            return self._file_sha256(path)
        root = path if self.is_folder else path.rpartition("/")[0]
        whole = hashlib.sha256()
        for relative in self.files or sorted((self.name, *self.beside)):
            digest = self._file_sha256(f"{root}/{relative}")
            whole.update(f"{relative}\0{digest}\n".encode(errors="surrogateescape"))
        return whole.hexdigest()

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Size and time of change of each local file: not the same any more once one was written to."""
        if not self.local:
            return ()
        _, path = self._place
        root = path if self.is_folder else path.rpartition("/")[0]
        stats = [os.stat(f"{root}/{name}") for name in (self.files or (self.name, *self.beside))]
        return tuple((found.st_size, found.st_mtime_ns) for found in stats)

    def _file_sha256(self, path: str) -> str:
        digest = hashlib.sha256()
        fs = self._place[0]
        with open(path, "rb") if self.local else fs.open(path, "rb", block_size=8 * _BLOCK) as f:
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
            fs, path = self._place
            for name in self.beside:
                fs.get_file(f"{path.rpartition('/')[0]}/{name}", str(root.with_name(name)))
            yield root


def leads_inside(root: str, relative: str) -> bool:
    """Whether a local file lies where its name says, or in the blobs of the Hugging Face cache it stands in.

    Such a cache is ``<repository>/snapshots/<revision>/…``, links into ``<repository>/blobs``.
    """
    real, named = os.path.realpath(f"{root}/{relative}"), os.path.join(os.path.realpath(root), relative)
    blobs = blobs_of(named)
    return real == named or (blobs is not None and real.startswith(blobs + "/"))


def blobs_of(path: str) -> str | None:
    """The blobs that links of a Hugging Face cache may lead to; None for a path outside of one."""
    head, found, _ = path.rpartition("/snapshots/")
    blobs = f"{head}/blobs"
    return blobs if found and os.path.isdir(blobs) else None
