from draccus import ChoiceRegistry


class CameraConfig(ChoiceRegistry):
    known: dict = {}
