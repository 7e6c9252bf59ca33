"""A place: one folder or bucket prefix, seen by fsspec, by Delta and by DuckDB alike."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.config import conf

from lwd_core.errors import StorageError, UserError


@dataclass(frozen=True)
class Location:
    """``root`` is an absolute path or an ``s3://bucket/prefix`` URL, without a slash at its end."""

    root: str
    fs: Any = field(repr=False, compare=False)
    storage_options: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def remote(self) -> bool:
        """True for an object store: no rename, one put makes an object appear whole."""
        return "://" in self.root

    def path(self, *parts: str) -> str:
        """A path below the root. Raises ``ValueError`` for a part that would leave it."""
        for part in parts:
            if part.startswith("/") or ".." in part.split("/"):
                raise ValueError(f"{part!r} leaves {self.root}")
        return "/".join((self.root, *parts))

    def below(self, *parts: str) -> "Location":
        """A place in this one."""
        return replace(self, root=self.path(*parts))

    def exists(self, *parts: str) -> bool:
        """Whether a file or folder lies there; asks the store, not a listing kept from before."""
        self.fs.invalidate_cache()
        return self.fs.exists(self.path(*parts))

    def read(self, *parts: str, most: int | None = None) -> bytes:
        """The whole file, or its first ``most`` bytes."""
        return self.fs.cat_file(self.path(*parts), start=None if most is None else 0, end=most)

    @contextmanager
    def write(self, *parts: str) -> Iterator[IO[bytes]]:
        """A stream whose bytes appear under the path at once, when the block ends, or never.

        Locally a temporary name, synced and renamed. On a store the upload completes at the end.
        """
        path = self.path(*parts)
        if self.remote:
            stream = self.fs.open(path, "wb", autocommit=False)
            try:
                yield stream
                stream.close()
                stream.commit()
            except BaseException:
                stream.closed = True  # else the finaliser would upload the rest
                stream.discard()
                raise
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
        try:
            with open(temporary, "xb", buffering=1 << 20) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise StorageError(
                    f"{target}: can't be written ({error}); make room or mend the disk"
                ) from error
            raise

    def remove(self, *parts: str) -> None:
        """Delete one file; not an error if it is gone already."""
        try:
            self.fs.rm_file(self.path(*parts))
        except FileNotFoundError:
            return

    def relative(self, path: str) -> str:
        """A path from a listing, relative to the root."""
        bare = self.fs._strip_protocol(self.root).rstrip("/") + "/"
        return self.fs._strip_protocol(path).removeprefix(bare)


def open_location(root: str, endpoint: str | None = None) -> Location:
    """A place at ``root``; nothing is read or made.

    ``endpoint`` is the URL of an S3 service; default ``LWD_S3_ENDPOINT`` or ``AWS_ENDPOINT_URL``.
    """
    if "://" not in root:
        return Location(str(Path(root).absolute()), fsspec.filesystem("file"))
    scheme = root.split("://", 1)[0]
    if scheme != "s3":
        raise UserError(f"{root}: {scheme}:// is no place the lake knows; use a folder or s3://bucket/prefix")
    from lwd_core.settings import Settings  # costly, and none of a process that only reads logs

    endpoint = endpoint or Settings().s3_endpoint or os.environ.get("AWS_ENDPOINT_URL") or None
    if endpoint:
        # readers of logs open URLs by themselves
        conf.setdefault("s3", {})["endpoint_url"] = endpoint
    # a listing kept in memory would hide what other processes committed
    fs = fsspec.filesystem("s3", endpoint_url=endpoint, use_listings_cache=False)
    options = {"aws_region": os.environ.get("AWS_REGION", "us-east-1"), "conditional_put": "etag"}
    if endpoint:
        options |= {"aws_endpoint_url": endpoint, "aws_allow_http": "true"}
    return Location(root.rstrip("/"), fs, options)
