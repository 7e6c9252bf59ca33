"""Whether a function still is the one that labelled: a digest of its code.

Comments, layout and documentation don't count; what the function uses of its own module does: other
functions and constants, such as a threshold.
"""

import ast
import hashlib
import inspect
import linecache
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any

from lwd_core.errors import UserError

_CONSTANTS = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset)


@cache
def digest(function: Callable[..., Any]) -> str:
    """SHA-256 over the code of a function and what it uses of its module, hex. Raises `UserError`."""
    parts: dict[str, str] = {}
    _collect(function.__name__, function, function.__module__, parts)
    return hashlib.sha256("\n".join(parts[name] for name in sorted(parts)).encode()).hexdigest()


def _collect(name: str, found: Any, module: str, parts: dict[str, str]) -> None:
    found = inspect.unwrap(getattr(found, "function", found))  # below its decorator
    if name in parts:
        return
    if not inspect.isfunction(found) and not inspect.isclass(found):
        if isinstance(found, _CONSTANTS):
            members = sorted(map(repr, found)) if isinstance(found, set | frozenset) else repr(found)
            parts[name] = f"{name} = {members}"
        return
    if found.__module__ != module:
        return
    tree = _parsed(found)
    parts[name] = ast.unparse(tree)
    if inspect.isfunction(found):
        known = {**found.__globals__, **inspect.getclosurevars(found).nonlocals}
        for used in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
            if used in known:
                _collect(used, known[used], module, parts)


def _parsed(found: Callable[..., Any]) -> ast.Module:
    linecache.checkcache()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
    except (OSError, TypeError, SyntaxError) as error:
        raise UserError(
            f"function {found.__name__}: its source can't be read ({error}); write it as a `def` to a file"
        ) from error
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        node.decorator_list = []
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
