"""QAM's released agent out of a checkout of ColinQiyangLi/qam, for an interpreter that has JAX.

Nothing of this project is imported, here or by what uses it.
"""

import sys
import types
from typing import Any


def official(checkout: str) -> tuple[Any, Any]:
    """The released agent and its configuration, without the packages only its other agents need."""
    sys.path.insert(0, checkout)
    package = types.ModuleType("agents")
    package.__path__ = [f"{checkout}/agents"]
    sys.modules["agents"] = package
    for unused in ("distrax", "tensorflow_probability"):
        sys.modules[unused] = _Anything(unused)
    from agents.qam import QAMAgent, get_config  # pyright: ignore[reportMissingImports]

    return get_config, QAMAgent


class _Class(type):
    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Class(name, (), {})


class _Anything(types.ModuleType):
    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Class(name, (), {})
