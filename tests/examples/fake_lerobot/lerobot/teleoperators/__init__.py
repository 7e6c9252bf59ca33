from dataclasses import dataclass

from draccus import ChoiceRegistry


@dataclass(kw_only=True)
class TeleoperatorConfig(ChoiceRegistry):
    known = {}
    id: str | None = None


def make_teleoperator_from_config(config):
    from lerobot.teleoperators.mock_leader import MockLeader

    return MockLeader(config)
