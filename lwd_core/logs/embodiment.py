"""Reading embodiment files: YAML in, dataclasses out, errors that name line, field and remedy."""

from pathlib import Path

import fsspec
from pydantic import TypeAdapter

from lwd_core import config_file
from lwd_core.errors import UserError
from storage_schemas.embodiment import Embodiment

_ADAPTER = TypeAdapter(Embodiment)
_WHAT = "an embodiment file with name, control_hz and state"


def load_embodiment(path: str | Path) -> Embodiment:
    """Read one embodiment file (local path or fsspec URL).

    Raises `UserError` naming file, line, field and remedy of everything that is wrong.
    """
    return config_file.check(_ADAPTER, config_file.read(path, _WHAT), str(path))


def parse_embodiment(text: str, name: str = "embodiment") -> Embodiment:
    """Parse the text of an embodiment file; ``name`` stands for it in errors."""
    return config_file.check(_ADAPTER, config_file.parse(text, name, _WHAT), name)


def load_embodiments(folder: str | Path) -> dict[str, Embodiment]:
    """Read every ``*.yaml`` of a folder, by embodiment name. An absent folder holds none.

    Raises `UserError` for a bad file and where two files give one name.
    """
    fs, path = fsspec.core.url_to_fs(str(folder))
    found: dict[str, Embodiment] = {}
    origin: dict[str, str] = {}
    if not fs.isdir(path):
        return found
    for file in sorted(fs.glob(f"{path.rstrip('/')}/*.yaml")):
        embodiment = load_embodiment(fs.unstrip_protocol(file) if "://" in str(folder) else file)
        if embodiment.name in found:
            raise UserError(
                f"{file}: name: {embodiment.name!r} is already given by {origin[embodiment.name]}; rename one"
            )
        found[embodiment.name] = embodiment
        origin[embodiment.name] = file
    return found
