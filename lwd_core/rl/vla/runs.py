"""Where a policy lies in what LeRobot's training wrote."""

import json
from pathlib import Path

from lwd_core.errors import UserError

_INSIDE = ("pretrained_model", "checkpoints/last/pretrained_model")
_ADAPTERS = "adapter_config.json"


def policy_folder(path: Path) -> Path:
    """The policy's folder of a training run, its last, or of one of its checkpoints; else the path itself.

    `UserError` for adapters that stand alone: which base they belong to only their folder says, and one of
    another base has the same shapes.
    """
    inside = next((path / name for name in _INSIDE if (path / name / "config.json").is_file()), path)
    if (inside / _ADAPTERS).is_file():
        try:
            base = json.loads((inside / _ADAPTERS).read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (OSError, ValueError, AttributeError, RecursionError):
            base = None
        raise UserError(
            f"{inside / _ADAPTERS}: adapters without their base ({base or 'which it does not name'}); merge "
            "them into it (peft's merge_and_unload) and save the policy whole"
        )
    return inside
