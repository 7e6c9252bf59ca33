"""``python -m lerobot_arms draft so101_follower port=/dev/ttyACM0``: a draft of an embodiment file."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lerobot_arms import devices
from lerobot_arms.draft import draft
from lwd_core import UserError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lerobot_arms", description=__doc__)
    parser.add_argument("what", choices=["draft"])
    parser.add_argument("type", help="LeRobot's, as so101_follower")
    parser.add_argument("config", nargs="*", help="name=value of its configuration, YAML")
    parser.add_argument("--name", default="", help="what the embodiment is called")
    parser.add_argument("--hz", type=float, default=30.0, help="control rate")
    parser.add_argument("--out", type=Path, help="the file; default: printed")
    asked = parser.parse_args()
    try:
        robot = devices.made("robots", asked.type, dict(_value(text) for text in asked.config))
        text = draft(robot, asked.name or asked.type.replace("_", "-"), asked.hz)
        if asked.out is None:
            print(text, end="")
            return 0
        with asked.out.open("x") as file:
            file.write(text)
        print(f"{asked.out}: a draft; look through ranges and limits before anything moves")
    except FileExistsError:
        print(f"{asked.out}: it is there already; name another --out", file=sys.stderr)
        return 2
    except (UserError, OSError) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    return 0


def _value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text}: write name=value")
    return name, YAML(typ="safe").load(value)


if __name__ == "__main__":
    sys.exit(main())
