from dataclasses import dataclass
from typing import ClassVar

from draccus import ChoiceRegistry


@dataclass(kw_only=True)
class TeleoperatorConfig(ChoiceRegistry):
    known: ClassVar[dict] = {}
    id: str | None = None


def make_teleoperator_from_config(config):
    from lerobot.teleoperators.mock_leader import MockLeader

    return MockLeader(config)
