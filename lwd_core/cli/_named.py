"""What a person calls a policy: its id, the beginning of it, or the channel that holds it."""

from typing import Annotated, Any

import typer

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.registry import find
from lwd_core.policies.release import recorded
from storage_schemas.vocabulary import Channel

PolicyId = Annotated[
    str, typer.Argument(help="Policy id, the beginning of one, or a channel: production, canary.")
]


def policy_named(lake: Lake, name: str) -> dict[str, Any]:
    """The row of the policy. Raises UserError where there is none."""
    if name not in tuple(Channel):
        return find(lake, name)
    held = recorded(lake, Channel(name))
    if held is None:
        raise UserError(f"channel {name}: empty; `lwd policy publish` puts a policy there")
    return find(lake, held.policy_id)
