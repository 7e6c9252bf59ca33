"""Where trained models lie: a file each beside the tables, ``judges/NAME@VERSION.npz``, which never changes.

A model holds weights and none of the rows it learned from, and the episodes' ids only as salted digests:
enough to tell whether it learned from one.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwd_core.errors import UserError, suggest
from lwd_core.judges.networks import Array
from lwd_core.lake.store import Lake
from storage_schemas.canonical import canonical_json

FOLDER = "judges"
_FILE = re.compile(r"(?P<name>[a-z][a-z0-9_.-]*)@(?P<version>[1-9][0-9]*)\.npz")


@dataclass(frozen=True)
class Kept:
    """A model as it was trained: what it says of itself, and its numbers by the head's place in ``heads``.

    ``digest`` is that of its file, hex.
    """

    name: str
    version: int
    about: Mapping[str, Any]
    heads: Sequence[Mapping[str, Array]] = field(repr=False, default=())
    common: Mapping[str, Array] = field(repr=False, default_factory=dict[str, Array])
    digest: str = ""

    @property
    def layer_id(self) -> str:
        """The layer it writes."""
        return f"{self.name}@{self.version}"


def keep(lake: Lake, model: Kept, learned_from: Iterable[str]) -> Kept:
    """Write it under the next version of its name, and return it as it was written."""
    versions = [one.version for one in kept(lake) if one.name == model.name]
    version = max(versions, default=0) + 1
    salt = f"{model.name}@{version}"
    about = {**model.about, "salt": salt, "learned_from": sorted(_digest(salt, e) for e in learned_from)}
    arrays = {f"{i}.{name}": values for i, head in enumerate(model.heads) for name, values in head.items()}
    arrays |= {f"common.{name}": values for name, values in model.common.items()}
    stream = io.BytesIO()
    np.savez(stream, about=np.frombuffer(canonical_json(about), np.uint8), **arrays)  # type: ignore[arg-type]
    with lake.place.write(FOLDER, f"{model.name}@{version}.npz") as out:
        out.write(stream.getvalue())
    return _parsed(model.name, version, stream.getvalue())


def kept(lake: Lake) -> list[Kept]:
    """The lake's models, by name and version; only what they say of themselves is read."""
    if not lake.place.exists(FOLDER):
        return []
    names = sorted(path.rsplit("/", 1)[-1] for path in lake.fs.ls(lake.path(FOLDER), detail=False))
    found = [match for name in names if (match := _FILE.fullmatch(name))]
    models = [Kept(m["name"], int(m["version"]), _about(lake, m[0])) for m in found]
    return sorted(models, key=lambda one: (one.name, one.version))


def find_kept(lake: Lake, what: str) -> Kept | None:
    """The model of a layer, ``name@version``, or the newest of a name; None where there is none.

    Raises `UserError` for a version there is none of, and a file that is damaged.
    """
    name, _, version = what.partition("@")
    own = [one for one in kept(lake) if one.name == name]
    if not own:
        return None
    ids = [one.layer_id for one in own]
    if version and what not in ids:
        raise UserError(f"model {what}: no such version{suggest(what, ids)}")
    file = f"{what if version else ids[-1]}.npz"
    one = own[ids.index(what)] if version else own[-1]
    return _parsed(name, one.version, lake.place.read(FOLDER, file))


def learned_from(models: Iterable[Kept], episodes: Sequence[str]) -> list[str]:
    """Layers of the models that learned from any of these episodes."""
    found: list[str] = []
    for one in models:
        own = set(one.about["learned_from"])
        if any(_digest(one.about["salt"], episode) in own for episode in episodes):
            found.append(one.layer_id)
    return found


def _about(lake: Lake, file: str) -> dict[str, Any]:
    return dict(_parsed("", 0, lake.place.read(FOLDER, file), file).about)


def _parsed(name: str, version: int, data: bytes, file: str = "") -> Kept:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            heads: list[dict[str, Array]] = [{} for _ in about["heads"]]
            common: dict[str, Array] = {}
            for key in arrays.files:
                of, _, inner = key.partition(".")
                if of == "common":
                    common[inner] = arrays[key]
                elif inner:
                    heads[int(of)][inner] = arrays[key]
    except (ValueError, KeyError, OSError, EOFError, IndexError) as error:
        raise UserError(
            f"{FOLDER}/{file or f'{name}@{version}.npz'}: no model, or damaged ({error}); delete it and run "
            "`lwd label train` again"
        ) from error
    return Kept(name, version, about, heads, common, hashlib.sha256(data).hexdigest())


def _digest(salt: str, episode: str) -> str:
    return hashlib.sha256(f"{salt} {episode}".encode()).hexdigest()[:24]
