"""What LeRobot uses of draccus: a mapping with a ``type`` as the configuration that is registered so."""

import dataclasses


class ChoiceRegistry:
    known: dict

    @classmethod
    def register_subclass(cls, name):
        def register(choice):
            cls.known[name] = choice
            return choice

        return register

    @classmethod
    def get_known_choices(cls):
        return cls.known


def decode(base, raw):
    given = dict(raw)
    choice = base.known[given.pop("type")]
    if unknown := given.keys() - {field.name for field in dataclasses.fields(choice)}:
        raise ValueError(f"unexpected fields: {', '.join(sorted(unknown))}")
    if isinstance(given.get("cameras"), dict):
        from lerobot.cameras import CameraConfig

        given["cameras"] = {name: decode(CameraConfig, camera) for name, camera in given["cameras"].items()}
    return choice(**given)
