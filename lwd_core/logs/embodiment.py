"""Reading embodiment files: YAML in, dataclasses out, errors that name line, field and remedy."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import fsspec
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML, YAMLError

from lwd_core.errors import UserError
from storage_schemas.embodiment import Embodiment

_ADAPTER = TypeAdapter(Embodiment)


def load_embodiment(path: str | Path) -> Embodiment:
    """Read one embodiment file (local path or fsspec URL).

    Raises `UserError` naming file, line, field and remedy of everything that is wrong.
    """
    try:
        with fsspec.open(str(path), "rt", encoding="utf-8") as f:
            text = f.read()  # type: ignore[union-attr]
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read ({e}); give the path of an embodiment YAML file") from e
    return parse_embodiment(text, str(path))


def parse_embodiment(text: str, name: str = "embodiment") -> Embodiment:
    """Parse the text of an embodiment file; ``name`` stands for it in errors."""
    try:
        tree = YAML(typ="rt").load(StringIO(text))
    except YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        raise UserError(f"{line}: no valid YAML: {problem}") from e
    except Exception as e:  # the parser meets odd keys and depths with errors of its own choosing
        raise UserError(f"{name}: no valid YAML: {e}") from e
    if not isinstance(tree, Mapping):
        raise UserError(f"{name}:1: must be a mapping with name, control_hz and state")
    try:
        return _ADAPTER.validate_python(_plain(tree))
    except ValidationError as e:
        raise UserError("\n".join(_explain(tree, name, error) for error in e.errors())) from e


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


def _plain(node: Any) -> Any:
    """The YAML tree without ruamel's own types."""
    if isinstance(node, Mapping):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _explain(tree: Any, name: str, error: Any) -> str:
    """One line for one fault: file:line: field: what is wrong and what to do."""
    where: tuple[Any, ...] = tuple(error["loc"])
    kind, message = error["type"], error["msg"]
    if kind == "missing":
        message = "is missing; add it"
    elif kind == "unexpected_keyword_argument":
        message = "is no known field; remove it or mend its spelling"
    elif kind == "value_error":
        message = str(error["ctx"]["error"])
    else:
        message = f"{message[0].lower()}{message[1:]}, not {error['input']!r}"
    return f"{name}:{_line(tree, where)}: {_path(where)}: {message}"


def _path(where: tuple[Any, ...]) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "file"


def _line(tree: Any, where: tuple[Any, ...]) -> int:
    """Line (from 1) of the deepest part of ``where`` that is in the file."""
    line, node = 1, tree
    for part in where:
        try:
            marks = node.lc.data
            line = marks[part][0] + 1
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line
