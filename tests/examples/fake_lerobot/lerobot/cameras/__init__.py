from typing import ClassVar

from draccus import ChoiceRegistry


class CameraConfig(ChoiceRegistry):
    known: ClassVar[dict] = {}
