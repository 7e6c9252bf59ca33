"""Backbones beside the policies: published once, shared by every policy that was learned on one.

A bundle names its base by the digests of its files, and the bundle is signed: what lies in the store need not
be trusted, only compared. A robot whose policies lie in a bucket keeps the bases it needed on its own disk.
"""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO

from lwd_core.errors import StorageError, UserError
from lwd_core.policies.bundle import BadBundle
from lwd_core.rl.fields import BaseFiles
from lwd_core.snapshots.local_copy import cache_home
from lwd_core.storage.location import Location, open_location
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import BASE_MANIFEST, BASES, Base

_PIECE = 1 << 22


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex; of one that has not changed since it was last asked for, from memory."""
    try:
        stat = path.stat()
        return _digest(str(path), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); a base needs it") from error


def base_named(found: BaseFiles) -> Base:
    """How a bundle names these files. Raises UserError where one can't be read, or is another than what was
    learned on: no robot would take such a policy."""
    named = {name: digest_of(path) for name, path in found.files.items()}
    for name, told in found.learned_on.items():
        if named.get(name) != told:
            raise UserError(
                f"{found.files.get(name, name)}: changed since it was learned on; put the file with sha256 "
                f"{told[:12]}… back"
            )
    return Base(found.kind, named, found.position_ids)


def publish_base(policies: str, base: Base, files: Mapping[str, Path]) -> str:
    """Put a base's files beside the policies, unless they are there; return their place.

    Raises UserError where a file is not the one that ``base`` names.
    """
    place = open_location(policies).below(BASES, base.base_id)
    if not place.exists(BASE_MANIFEST):
        for name, expected in base.files.items():
            with files[name].open("rb") as source, place.write(name) as target:
                if _copy(source, target) != expected:
                    raise UserError(
                        f"{files[name]}: changed since it was learned on; put the file with sha256 "
                        f"{expected[:12]}… back"
                    )
        with place.write(BASE_MANIFEST) as file:
            file.write(canonical_json(dict(base.files)))
    return place.root


def local_base(policies: str, base: Base, zone: Path | None = None) -> Path:
    """The folder of a base on this machine, its bytes as the bundle names them.

    Where ``policies`` is a folder, its own; from a bucket it is fetched into ``zone`` (by default this
    machine's cache), whole or not at all, and stays. Raises BadBundle where it is not there, or damaged.
    """
    store = open_location(policies).below(BASES, base.base_id)
    if not store.remote:
        _present(store, base, policies)
        return _verified(Path(store.root), base)
    folder = (zone or cache_home() / BASES) / base.base_id
    if folder.exists():
        try:
            return _verified(folder, base)
        except BadBundle:  # a cache that lost power, or a disk that forgets: the bucket has it
            shutil.rmtree(folder, ignore_errors=True)
    _present(store, base, policies)
    _fetch(store, base, folder)
    return _verified(folder, base)


def _present(store: Location, base: Base, policies: str) -> None:
    if not store.exists(BASE_MANIFEST):
        raise BadBundle(
            f"{store.root}: the {base.kind} base this policy was learned on is not there; copy the folder "
            f"from where it was released, or release the policy to {policies} anew"
        )


def _fetch(store: Location, base: Base, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        for name, expected in base.files.items():
            target = Path(open_location(str(temporary)).path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with store.fs.open(store.path(name), "rb") as source, target.open("wb") as file:
                same = _copy(source, file) == expected
                file.flush()
                os.fsync(file.fileno())
                if not same:
                    raise BadBundle(
                        f"{store.path(name)}: the bytes are not those the policy names; release it anew"
                    )
        temporary.rename(folder)
    except FileNotFoundError as error:
        raise BadBundle(f"{store.root}: incomplete ({error}); release the policy anew") from error
    except OSError as error:
        if folder.exists():  # another process was faster
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise StorageError(f"{folder}: the base can't be kept there ({error}); make room") from error
        raise  # the line is down: asked for again
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _verified(folder: Path, base: Base) -> Path:
    for name, expected in base.files.items():
        path = folder / name
        if not path.is_file():
            raise BadBundle(f"{path}: missing; remove {folder} and release the policy anew")
        if digest_of(path) != expected:
            raise BadBundle(
                f"{path}: the bytes are not those the policy names; remove {folder} and release it anew"
            )
    return folder


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    told = hashlib.sha256()
    while piece := source.read(_PIECE):
        told.update(piece)
        target.write(piece)
    return told.hexdigest()


@lru_cache(maxsize=256)
def _digest(path: str, _size: int, _changed_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
