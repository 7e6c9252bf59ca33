"""Files at a place: a local path or any fsspec URL, written whole or not at all."""

import os
import uuid
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem


def filesystem(place: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a place and the place's path within it.

    Credentials and endpoint of a bucket come from the environment (``AWS_*``).
    """
    return fsspec.core.url_to_fs(place)


def join(place: str, *parts: str) -> str:
    """Join a place and names below it; a name may not climb out."""
    for part in parts:
        if not part or part.startswith("/") or ".." in part.split("/"):
            raise ValueError(f"{part!r} is no name below {place}")
    return "/".join((place.rstrip("/"), *parts))


def write_whole(place: str, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never a part.

    Locally by a temporary name, fsync and rename; on an object store by one put.
    """
    fs, path = filesystem(place)
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(path, data)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_whole(place: str) -> bytes | None:
    """Return a file's bytes, or None where there is no such file."""
    fs, path = filesystem(place)
    # An object store's listing cache would show a robot yesterday's release.
    fs.invalidate_cache()
    try:
        data = fs.cat_file(path)
    except FileNotFoundError:
        return None
    return bytes(data)
