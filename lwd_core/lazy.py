"""Names that are imported when they are asked for (PEP 562): a front door that costs nothing to open."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a module whose ``names`` lie elsewhere, as ``module:attribute``."""

    def find(name: str) -> Any:
        if name not in names:
            from lwd_core.errors import suggest

            raise AttributeError(f"{package} has no {name}{suggest(name, names)}")
        module, _, attribute = names[name].partition(":")
        try:
            return getattr(import_module(f"lwd_core.{module}"), attribute)
        except ImportError as error:
            from lwd_core.extras import missing_extra

            raise missing_extra(error) or error from error

    return find, lambda: sorted(names)
