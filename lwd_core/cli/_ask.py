"""What a command asks for: typer's `Option` and `Argument`, of whose types click leaves a part unknown."""

from collections.abc import Callable
from typing import Any, cast

import typer

#: Rows that are asked for at most.
MOST = 1_000_000

Option = cast("Callable[..., Any]", typer.Option)  # pyright: ignore[reportUnknownMemberType]
Argument = cast("Callable[..., Any]", typer.Argument)  # pyright: ignore[reportUnknownMemberType]
