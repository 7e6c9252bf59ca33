# pyarrow has no types of its own; without this file a strict checker calls each value of it unknown.
from typing import Any

def __getattr__(name: str) -> Any: ...
